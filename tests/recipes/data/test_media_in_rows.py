"""Media that are held by the rows themselves: training, evaluation and chat equal those with files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from inlay.adapters.media import budget, image
from inlay.recipes import evaluate, finetune, llava
from inlay.recipes.data.rows import media_headers
from inlay.recipes.data.rows.checks import media_quick
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.answering import as_rows
from inlay.recipes.evaluation.eval_data import read_held_out
from inlay.recipes.settings.run import DataSettings

QUESTION = "what is this?"


def uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def write(image_of: Any, tmp_path: Path) -> Callable[..., DataSettings]:
    """A training file and a test file whose pictures are files, or part of the rows."""
    (tmp_path / "images").mkdir()
    for number in range(4):
        image_of(number).save(tmp_path / "images" / f"{number}.png")

    def make(kind: str) -> DataSettings:
        folder = tmp_path / kind
        folder.mkdir()
        for name, numbers in (("train", range(2)), ("test", range(2, 4))):
            rows = []
            for number in numbers:
                path = tmp_path / "images" / f"{number}.png"
                picture = {"type": "image_url", "image_url": {"url": uri(path) if kind == "bytes" else path.name}}
                asked = {"role": "user", "content": [picture, {"type": "text", "text": QUESTION}]}
                said = {"role": "assistant", "content": "a red circle ."}
                rows.append(json.dumps({"id": str(number), "messages": [asked, said]}) + "\n")
            (folder / f"{name}.jsonl").write_text("".join(rows))
        images = None if kind == "bytes" else tmp_path / "images"
        return DataSettings(train=folder / "train.jsonl", test=folder / "test.jsonl", images=images)

    return make


def train(data: DataSettings, backbone: Any, output: Path, lines: list[str] | None = None) -> Any:
    return finetune(
        llava.recipe("1.0"),
        backbone=backbone,
        data=data,
        output=output,
        trainer={"max_steps": 1},
        accelerator="cpu",
        show=(lambda _: None) if lines is None else lines.append,
    )


def test_bytes_train_evaluate_and_chat_as_files_do(write: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    answered = {}
    for kind in ("files", "bytes"):
        data = write(kind)
        run = train(data, eva_backbone_of("llama"), tmp_path / f"run {kind}")
        model = run.adapter().attach(eva_backbone_of("llama"))
        found = evaluate(model, data.test, images=data.images, show=lambda _: None)
        answered[kind] = model, run, found
    (plain, run, expected), (model, other, found) = answered["files"], answered["bytes"]
    for (name, wanted), value in zip(plain.adapter.named_parameters(), model.adapter.parameters(), strict=True):
        assert torch.equal(wanted, value), name
    assert run.metrics["by_type"] == other.metrics["by_type"]
    assert expected.scores == found.scores
    assert all(row["image"].startswith("sha256:") for row in as_rows(found.answers, tmp_path))
    path = tmp_path / "images" / "3.png"
    replies = [
        model.chat([{"role": "user", "content": [{"type": "image", **source}, QUESTION]}]).text
        for source in ({"path": str(path)}, {"data": path.read_bytes()}, {"data": uri(path)})
    ]
    assert replies[0] == replies[1] == replies[2]


def test_changed_bytes_are_seen_when_a_run_is_resumed(write: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    data = write("bytes")
    digests = json.loads((train(data, eva_backbone_of("llama"), tmp_path / "run").folder / "digests.json").read_text())
    text = data.train.read_text()
    data.train.write_text(text.replace(uri(tmp_path / "images" / "0.png"), uri(tmp_path / "images" / "2.png")))
    other = json.loads((train(data, eva_backbone_of("llama"), tmp_path / "other").folder / "digests.json").read_text())
    assert digests["data"]["train"]["rows"] != other["data"]["train"]["rows"]
    assert digests["data"]["test"] == other["data"]["test"]


def test_the_options_of_reading_are_kept_for_evaluation(write: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    data = write("files")
    for name in ("train", "test"):
        path = data.train.parent / f"{name}.jsonl"
        numbers = range(2) if name == "train" else range(2, 4)
        rows = [{"q": QUESTION, "a": "a red circle .", "img": f"{n}.png", "id": n} for n in numbers]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = "question=q,answer=a,image=img"
    run = train(replace(data, columns=columns, format="question_answer"), eva_backbone_of("llama"), tmp_path / "run")
    assert [sample.id for sample in read_held_out(run.folder, None, None).samples] == ["2", "3"]


def test_a_limit_of_positions_reaches_the_training(write: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    data, lines = write("files"), list[str]()
    with pytest.raises(DataError, match="more than the limit of 8"):
        train(replace(data, max_length=8), eva_backbone_of("llama"), tmp_path / "raised")
    whole = train(data, eva_backbone_of("llama"), tmp_path / "whole").adapter()
    sample = read_held_out(tmp_path / "whole", None, None).samples[0]
    most = len(whole.attach(eva_backbone_of("llama")).encode(sample.messages).ids) - 2
    limits = replace(data, max_length=most, too_long="cut")
    cut = train(limits, eva_backbone_of("llama"), tmp_path / "cut", lines).adapter()
    assert [line for line in lines if line.endswith("are cut at their end (--data.too_long cut)")]
    pairs = zip(whole.parameters(), cut.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


def test_large_pictures_are_downscaled_when_asked(
    write: Any, eva_backbone_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write("files")
    Image.new("RGB", (300, 200), "red").save(tmp_path / "images" / "0.png")
    little = replace(budget.BUDGET, pixels=50_000)
    monkeypatch.setattr(media_headers, "BUDGET", little)
    monkeypatch.setattr(media_quick, "BUDGET", little)
    monkeypatch.setattr(image.load_image, "__kwdefaults__", {"root": None, "budget": little})
    with pytest.raises(DataError, match=r"300 x 200 pixels are too many.*--data\.downscale true"):
        train(data, eva_backbone_of("llama"), tmp_path / "refused")
    assert train(replace(data, downscale=True), eva_backbone_of("llama"), tmp_path / "run").metrics
