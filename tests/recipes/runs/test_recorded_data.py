"""A run on files of the user's own is evaluated without naming them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes import DataSettings, finetune, llava
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.evaluation.eval_data import read_held_out
from inlay.recipes.runs.backbone import found_again
from inlay.recipes.runs.recorded_data import recorded_data
from inlay.recipes.settings.errors import SettingsError


def write(folder: Path, image_of: Any) -> None:
    for name, numbers in (("train", range(2)), ("test", range(2, 4))):
        rows = []
        for number in numbers:
            (folder / "pictures").mkdir(exist_ok=True)
            image_of(number).save(folder / "pictures" / f"{number}.png")
            turns = [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "a red circle ."}]
            rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
        (folder / f"{name}.json").write_text(json.dumps(rows))


def test_the_held_out_files_of_a_run_are_found_again(image_of: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    write(tmp_path, image_of)
    run = finetune(
        llava.recipe("1.0"),
        backbone=eva_backbone_of("llama"),
        train=tmp_path / "train.json",
        test=tmp_path / "test.json",
        images=tmp_path / "pictures",
        output=tmp_path / "run",
        trainer={"max_steps": 1},
        accelerator="cpu",
        show=lambda _: None,
    )
    held = read_held_out(run.folder, None, None)
    assert (held.path, [sample.id for sample in held.samples]) == (tmp_path / "test.json", ["2", "3"])
    assert recorded_data(run.bundle) == recorded_data(run.folder)
    (tmp_path / "test.json").unlink()
    with pytest.raises(SettingsError, match=r"data\.test of this run is .*test\.json, which does not exist"):
        read_held_out(run.folder, None, None)


def test_a_model_that_is_a_file_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    config = tmp_path / "runs" / "one" / "config.yaml"
    assert found_again("model.gguf", config) == tmp_path / "model.gguf"


def test_rows_that_a_run_held_out_are_found_again(image_of: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    write(tmp_path, image_of)
    rows = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("train", "test")]
    (tmp_path / "train.json").write_text(json.dumps(rows[0] + rows[1]))
    lines: list[str] = []
    run = finetune(
        llava.recipe("1.0"),
        backbone=eva_backbone_of("llama"),
        data=DataSettings(train=tmp_path / "train.json", images=tmp_path / "pictures", test_size=0.25),
        output=tmp_path / "run",
        trainer={"max_steps": 1},
        accelerator="cpu",
        show=lines.append,
    )
    assert any(line.endswith("train.json: 1 of 4 rows are held out (test_size 0.25, seed 0)") for line in lines)
    [answered] = [json.loads(line) for line in (run.folder / "answers.jsonl").read_text().splitlines()]
    held = read_held_out(run.folder, None, None)
    assert [sample.id for sample in held.samples] == [answered["id"]]
    (tmp_path / "train.json").write_text(json.dumps([row for row in rows[0] + rows[1] if row["id"] != answered["id"]]))
    with pytest.raises(DataError, match="no longer in its training file"):
        read_held_out(run.folder, None, None)
    run.folder.joinpath("held_out.json").unlink()
    with pytest.raises(SettingsError, match=r"held_out\.json: expected the digests"):
        read_held_out(run.folder, None, None)
