"""``inlay chat`` and ``inlay evaluate`` with a language model in another program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from vllm_stand_in import StandIn, served

from inlay.recipes.commands import chat
from inlay.recipes.commands.evaluation import evaluate
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems.load_backbone import miniature_backbone


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (48, 48), (200, 30, 30)).save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture
def questions(picture: Path) -> Path:
    rows = [
        {
            "id": f"q{number}",
            "image": picture.name,
            "conversations": [{"from": "human", "value": f"<image>\n{text}"}, {"from": "gpt", "value": "red"}],
            "description": "a large red square in the middle.",
        }
        for number, text in enumerate(("what colour is it?", "how many are there?", "is it large?"))
    ]
    path = picture.with_name("test.json")
    path.write_text(json.dumps(rows))
    return path


def test_chat_behind_a_server(
    bundle: Path, torch_model: Any, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in = StandIn({"llama": miniature_backbone().llm, "tried": torch_model.backbone.llm})
    argv = [str(bundle), "--question", "what colour is it?", "--image", str(picture), "--max_new_tokens", "8"]
    assert chat.main(argv) == 0
    expected = capsys.readouterr().out
    with served(stand_in) as url:
        assert chat.main([*argv, "--runtime", "vllm", "--url", url]) == 0
    assert capsys.readouterr().out == expected
    assert stand_in.asked[0]["model"] == "tried"


def test_chat_in_llama_cpp(
    bundle: Path, bases: Callable[[str], Path], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")
    argv = [str(bundle), "--question", "what colour is it?", "--image", str(picture), "--max_new_tokens", "8"]
    assert chat.main(argv) == 0
    expected = capsys.readouterr().out
    assert chat.main([*argv, "--runtime", "llamacpp", "--gguf", str(bases("f32"))]) == 0
    shown = capsys.readouterr()
    assert shown.out == expected
    assert "f32.gguf: logits of the bundle's canary differ by" in shown.err


def test_evaluate_in_llama_cpp_equals_torch(
    bundle: Path, bases: Callable[[str], Path], questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the blind row, and the oracle, which is the language model without its adapter."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")
    found = []
    for number, more in enumerate(([], ["--runtime", "llamacpp", "--gguf", str(bases("f32"))])):
        answers = tmp_path / f"{number}.jsonl"
        argv = [str(bundle), "--data.test", str(questions), "--metric", "exact", "--json"]
        assert evaluate.main([*argv, "--save_answers", str(answers), *more]) == 0
        found.append((json.loads(capsys.readouterr().out), answers.read_text()))
    assert found[0] == found[1]
    assert {"adapter", "blind", "oracle"} <= found[0][0].keys()


def test_ranking_and_several_processes_need_torch(bundle: Path) -> None:
    server = ["--runtime", "vllm", "--url", "http://127.0.0.1:9"]
    with pytest.raises(SettingsError, match="--rank: expected --runtime torch"):
        evaluate.main([str(bundle), *server, "--rank", "yes,no"])
    with pytest.raises(SettingsError, match="--devices: expected 1 with --runtime vllm, got 2"):
        evaluate.main([str(bundle), *server, "--devices", "2"])
