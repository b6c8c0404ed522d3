"""``inlay import``: from a checkpoint to a bundle that answers, by the command line alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import hf_llava, hf_llava_folder, llava_config, original_llava, relaid

from inlay.recipes.cli import main


@pytest.fixture
def folder(tokenizer_of: Any, tmp_path: Path) -> Path:
    return hf_llava_folder(tmp_path / "llava-hf", hf_llava(tokenizer_of()), tokenizer_of(), "4.51")


def test_a_folder_becomes_a_bundle_that_chat_uses(
    folder: Path, image_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(folder), str(tmp_path / "bundle"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parts"] == {"inputs.image": 24 * 32 + 32 + 32 * 32 + 32}
    assert (facts["template"], facts["dtype"]) == ("vicuna_v1", "float32")
    image_of(0).save(tmp_path / "p.png")
    models = ["--backbone.llm", str(folder), "--backbone.image", str(folder)]
    asked = [
        "chat",
        str(tmp_path / "bundle"),
        *models,
        "--image",
        str(tmp_path / "p.png"),
        "--question",
        "What is shown?",
    ]
    assert main([*asked, "--max_new_tokens", "3"]) == 0


def test_the_printed_table_names_parts_and_models(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(folder), str(tmp_path / "bundle"), "--dtype", "bfloat16"]) == 0
    out = capsys.readouterr().out
    assert all(text in out for text in ("inputs.image", f"image         {folder}", "bfloat16"))


def test_a_model_that_cannot_be_reached_is_an_error_with_its_option(
    tokenizer_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("inlay.hub.remote.reachable._asked", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    torch.save(original_llava(hf_llava(tokenizer_of())), tmp_path / "mm_projector.bin")
    config = llava_config(_name_or_path="me/none-of-this-name", tune_mm_mlp_adapter=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["import", str(tmp_path), str(tmp_path / "bundle")]) == 2
    assert "give the folder of a local copy (--llm), or check the network" in capsys.readouterr().err


def test_a_wrong_tensor_is_a_usage_error_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relaid(folder / "model.safetensors", ((r"^multi_modal_projector\.linear_2\.", "multi_modal_projector.linear_3."),))
    assert main(["import", str(folder), str(tmp_path / "bundle")]) == 2
    assert "multi_modal_projector.linear_3.bias" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_is_not_replaced_unless_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").mkdir()
    assert main(["import", str(folder), str(tmp_path / "bundle")]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_missing_checkpoint_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path / "none"), str(tmp_path / "bundle")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_the_bundle_names_the_hub_ids_of_local_copies(folder: Path, tmp_path: Path) -> None:
    named = ["--llm_id", "me/vicuna", "--image_id", "me/clip"]
    assert main(["import", str(folder), str(tmp_path / "bundle"), *named]) == 0
    ports = json.loads((tmp_path / "bundle" / "inlay.json").read_text())["interface"]
    assert {name: port["source"] for name, port in ports.items()} == {"llm": "me/vicuna", "image": "me/clip"}


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (["--llm_id", "../vicuna"], "--llm_id: expected a Hub id, such as lmsys/vicuna-7b-v1.5, got '../vicuna'"),
        (["--audio_id", "me/whisper"], "audio_id: expected a Hub id for one of llm, image"),
    ],
)
def test_a_wrong_hub_id_is_a_usage_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], named: list[str], reason: str
) -> None:
    assert main(["import", str(folder), str(tmp_path / "bundle"), *named]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
