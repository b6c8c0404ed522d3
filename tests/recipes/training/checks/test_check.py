"""``inlay check``: everything but the steps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from inlay.recipes import BackboneSettings, DataSettings, Job, RunSettings, llava
from inlay.recipes.cli import main
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.training.checks.check import check


@pytest.fixture
def job_of(image_of: Any, tmp_path: Path) -> Any:
    def make(*answers: str, **run: Any) -> Job:
        rows = []
        for number, answer in enumerate(answers):
            image_of(number).save(tmp_path / f"{number}.png")
            turns = [{"from": "human", "value": "<image>\nwhat is it?"}, {"from": "gpt", "value": answer}]
            rows.append({"id": str(number), "image": f"{number}.png", "conversations": turns})
        path = tmp_path / "train.json"
        path.write_text(json.dumps(rows))
        settings = RunSettings(**{"output": tmp_path / "run", "accelerator": "cpu", **run})
        return Job(recipe=llava.recipe(), run=settings, backbone=BackboneSettings(), data=DataSettings(train=path))

    return make


def test_data_parts_labels_steps_and_memory_of_every_stage_are_shown(
    job_of: Any, eva_backbone_of: Any, tmp_path: Path
) -> None:
    lines: list[str] = []
    check(job_of("a red circle .", "a blue star ."), lines.append, backbone=eva_backbone_of("llama"))
    said = "\n".join(lines)
    assert re.search(r"^train +train\.json +llava +2 +2 image \(2 different\) +1-1 +20x14$", said, re.MULTILINE)
    assert said.count("memory in MiB: weights") == 2
    for stage in ("align", "instruct"):
        assert f"stage {stage}: 2 samples, 1 steps" in said
    assert "[[" in said
    assert "stage align has few optimizer steps: lower --stages.align.batch_size" in said
    assert "inputs.image  mlp   frozen" not in said
    assert lines[-1].endswith("all checks passed")
    assert not (tmp_path / "run").exists()


def test_a_missing_picture_and_a_folder_that_is_taken_are_found(
    job_of: Any, eva_backbone_of: Any, tmp_path: Path
) -> None:
    job = job_of("a red circle .", "a blue star .")
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png"):
        check(job, lambda _: None, backbone=eva_backbone_of("llama"))
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="run"):
        check(job_of("a red circle ."), lambda _: None, backbone=eva_backbone_of("llama"))
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_the_command_takes_a_yaml_file_and_names_what_is_wrong(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"system": "llava", "data": {"train": "nosuch.json"}}))
    assert main(["check", str(path)]) == 2
    assert capsys.readouterr().err.startswith("inlay check: data.train: nosuch.json")


def test_list_of_invalid_rows_is_kept_where_the_error_says(job_of: Any, eva_backbone_of: Any, tmp_path: Path) -> None:
    job = job_of("a red circle .", "a blue star .")
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError) as told:
        check(job, lambda _: None, backbone=eva_backbone_of("llama"))
    listed = Path(re.search(r"listed in (\S+\.jsonl)", str(told.value))[1])
    assert listed == tmp_path / "run" / "invalid.jsonl"
    assert len(listed.read_text().splitlines()) == 1
