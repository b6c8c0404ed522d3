"""``inlay check``: everything but the steps."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from preference_stages import stage_of

from inlay.recipes import BackboneSettings, DataSettings, Job, RunSettings, llava
from inlay.recipes.cli import main
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.objectives.preference.settings import Preference
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
    assert re.search(
        r"^train +align, instruct +train\.json +llava +2 +2 image \(2 different\) +1-1 +20x14$", said, re.MULTILINE
    )
    assert said.count("train.json") == 1  # the rows are both captions and conversations
    assert said.count("memory in MiB: weights") == 2
    for stage in ("align", "instruct"):
        assert f"stage {stage}: 2 samples, 1 steps" in said
    assert "[[" in said
    assert "stage align has few optimizer steps: lower --stages.align.batch_size" in said
    assert "inputs.image  mlp   frozen" not in said
    assert lines[-1].endswith("all checks passed")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def preferring(job_of: Any, tmp_path: Path) -> Any:
    """A job on pairs in place of plain conversations."""
    job = job_of("a red circle .", "a blue star .")
    recipe = replace(job.recipe, stages={"prefer": stage_of(Preference(), lr={"inputs": 1e-3, "lora": 1e-3})})
    rows = [
        {"image": f"{n}.png", "prompt": "what is it?", "chosen": "a red circle .", "rejected": "a star " * (n + 1)}
        for n in range(2)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(job, recipe=recipe, data=DataSettings(train=path))


def test_both_answers_of_pairs_and_their_lengths_are_shown(preferring: Any, eva_backbone_of: Any) -> None:
    lines: list[str] = []
    report = check(preferring, lines.append, backbone=eva_backbone_of("llama"))
    assert re.search(r"train +prefer +pairs\.jsonl +trl_preference +2 +2 image \(2 different\)", "\n".join(lines))
    (stage,) = report.stages
    tokens: Any = stage.tokens
    assert len(tokens.lengths) == 2
    assert any(line.startswith("memory in MiB: weights ") for line in lines)
    assert tokens.labelled[1] > tokens.labelled[0] > 0
    shown = ["".join(text for text, trained in pieces if trained) for _, pieces, _ in stage.examples]
    assert all("circle" in text and "star" in text for text in shown)
    assert all([kind for kind, _ in media] == ["image"] for _, _, media in stage.examples)


def test_data_of_another_kind_are_refused_before_the_first_step(
    job_of: Any, preferring: Any, eva_backbone_of: Any
) -> None:
    plain = job_of("a red circle .")
    for job, reason in (
        (replace(plain, data=preferring.data), "stage align: the objective next_token trains on plain conversations"),
        (replace(preferring, data=plain.data), "stage prefer: the objective preference trains on pairs"),
    ):
        with pytest.raises(DataError, match=reason):
            check(job, lambda _: None, backbone=eva_backbone_of("llama"))


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
