"""Questions that the reward cannot score: listed, and left out or refused like other invalid rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from preference_stages import stage_of

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.usable_rows import usable_rows
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.objectives.plan import Task
from inlay.recipes.objectives.policy_gradient.settings import Grpo


def row(number: int, answer: str) -> Sample:
    turns = (Message("user", (TextPart("is it red?"),)), Message("assistant", (TextPart(answer),)))
    return Sample(f"r{number}", turns, f"train.json, item {number}")


ROWS = [row(0, "yes"), row(1, "perhaps"), row(2, "no"), row(3, "a circle")]


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    return adapter_of(backbone_of()).attach(backbone_of())


def checked(model: Any, report: Path, invalid: Any, reward: str = "pope", **more: Any) -> list[str]:
    stages = {"prefer": stage_of(Grpo(reward=reward, group=2))}
    samples = {"train": ROWS}
    kept = usable_rows(samples, stages, model, seed=0, invalid=invalid, report=report, **more)
    return [sample.id for sample in kept["train"]]


def test_they_are_left_out_and_listed(model: Any, tmp_path: Path) -> None:
    assert checked(model, tmp_path / "invalid.jsonl", "skip") == ["r0", "r2"]
    listed = [json.loads(line) for line in (tmp_path / "invalid.jsonl").read_text().splitlines()]
    assert [entry["where"] for entry in listed] == ["train.json, item 1", "train.json, item 3"]
    assert all("stage prefer: reward pope: " in entry["reason"] for entry in listed)


def test_all_of_them_are_named_at_once_if_they_stop_the_run(model: Any, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"(?s)^2 row\(s\).*--data\.invalid skip.*item 1: stage prefer.*2 such rows; next: item 3"
    ):
        checked(model, tmp_path / "invalid.jsonl", "raise")
    assert len((tmp_path / "invalid.jsonl").read_text().splitlines()) == 2


def test_the_object_classes_of_the_run_are_used(model: Any, tmp_path: Path) -> None:
    vocabulary = ObjectVocabulary.of(("circle",))
    kept = checked(model, tmp_path / "invalid.jsonl", "skip", "objects", vocabulary=vocabulary)
    assert kept == ["r3"]


def test_held_out_questions_that_cannot_be_scored_are_not_asked(model: Any) -> None:
    stage = stage_of(Grpo(reward="pope", group=2), batch_size=1)
    task = Task(stage=stage, model=model, sets=[[ROWS[0]]], validation=ROWS, seed=7, show=lambda _: None)
    plan: Any = stage.objective.plan(task)
    assert plan.validation.sizes == (2,)
