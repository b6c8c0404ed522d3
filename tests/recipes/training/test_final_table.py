"""The table at the end of a run: the metric that fits, blind beside it, answers in a file, shared among processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from two_processes import in_two

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.distributed.ranks import is_first
from inlay.recipes.evaluation.metrics import MetricError
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems import llava
from inlay.recipes.training.final_table import FinalTable, gated_int8

LONG = "There is a large red circle in the center and a small blue square at the top left of it."


@pytest.fixture
def samples_of(image_of: Any, tmp_path: Path) -> Any:
    def make(answers: list[str], people: int = 1) -> list[Sample]:
        rows = []
        for index, answer in enumerate(answers):
            path = tmp_path / f"{index}.png"
            image_of(index).save(path)
            user = Message("user", (MediaPart("image", path), TextPart(f"which colour is circle {index}?")))
            turns = (user, Message("assistant", (TextPart(answer),)))
            rows.append(Sample(f"s{index}", turns, "rows", answers=((answer,) * people,) if people > 1 else ()))
        return rows

    return make


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    torch.manual_seed(3)
    backbone = backbone_of()
    return adapter_of(backbone).attach(backbone)


@pytest.fixture
def measured(model: Any, tmp_path: Path) -> Any:
    """Figures, tables and lines of held-out samples."""
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")

    def run(samples: list[Sample], **options: Any) -> tuple[dict[str, Any], list[str], list[str]]:
        settings = RunSettings(output=folder.root, **options)
        job = Job(recipe=llava.recipe(), run=settings, backbone=BackboneSettings(), data=DataSettings())
        lines: list[str] = []
        final = FinalTable(job, samples, model.backbone.llm.tokenizer, lines.append)
        figures = final.answers(model, samples, None, folder)
        return figures, final.tables, lines

    return run


def test_ten_human_answers_are_scored_as_vqa_beside_blind(measured: Any, samples_of: Any) -> None:
    figures, (table,), _ = measured(samples_of(["red", "blue"], people=10))
    assert figures["metric"] == "vqa"
    assert {"accuracy", "blind", "by_type"} <= set(figures)
    assert table.startswith("VQA accuracy on held-out questions, in percent\n")
    assert table.splitlines()[1].split() == ["type", "questions", "adapter", "blind"]


def test_the_line_before_the_answers_counts_questions_and_not_rows(measured: Any, samples_of: Any) -> None:
    (row,) = samples_of(["red"])
    more = Message("user", (TextPart("which shape?"),)), Message("assistant", (TextPart("circle"),))
    _, _, lines = measured([replace(row, messages=(*row.messages, *more))])
    assert "answering 2 held-out questions, with and without media" in lines[0]


def test_free_text_is_written_and_not_scored(measured: Any, samples_of: Any, tmp_path: Path) -> None:
    figures, (table,), _ = measured(samples_of([LONG, LONG]))
    assert set(figures) == {"cut"}
    answers = tmp_path / "run" / "answers.jsonl"
    assert table == f"free text: no metric fits; choose one with --metric; the answers are in {answers}"
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert [row["reference"] for row in rows] == [LONG, LONG]


def test_a_metric_by_name_scores_free_text_too(measured: Any, samples_of: Any) -> None:
    figures, (table,), _ = measured(samples_of([LONG, LONG]), metric="captions")
    assert set(figures["scores"]["blind"]) == set(figures["scores"]["adapter"]) >= {"cider", "rouge_l"}
    assert figures["cider"] == figures["scores"]["adapter"]["cider"]
    assert table.startswith("captions of held-out questions")


def test_a_metric_that_does_not_suit_is_refused_before_training(measured: Any, samples_of: Any) -> None:
    with pytest.raises(MetricError, match="pope: expected the reference yes or no"):
        measured(samples_of(["red"]), metric="pope")


def test_answers_are_as_long_as_the_references_and_cut_ones_are_counted(
    measured: Any, samples_of: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    generate = model.backbone.llm.generate

    def watched(*given: Any, **options: Any) -> Any:
        limits.append(options["max_new_tokens"])
        return generate(*given, **options)

    monkeypatch.setattr(model.backbone.llm, "generate", watched)
    long = " ".join([LONG] * 9)
    figures, _, lines = measured(samples_of([long]))
    tokens = len(model.backbone.llm.tokenizer(long, add_special_tokens=False).input_ids)
    assert limits == [tokens + 8]
    assert figures["cut"] == 0 or f"1 of 1 answers reached the limit of {tokens + 8}" in lines[-1]


def test_two_processes_have_the_table_of_one_and_write_one_file(measured: Any, samples_of: Any, tmp_path: Path) -> None:
    samples = samples_of(["red", "blue", "two", "a star", "red"], people=10)
    alone = measured(samples, eval_batch_size=2)
    (tmp_path / "run" / "answers.jsonl").rename(tmp_path / "alone.jsonl")
    assert in_two(lambda: measured(samples, eval_batch_size=2)[:2]) == [alone[:2]] * 2
    assert (tmp_path / "run" / "answers.jsonl").read_text() == (tmp_path / "alone.jsonl").read_text()


def test_int8_is_decided_once_and_its_weights_reach_every_process(model: Any, samples_of: Any) -> None:
    samples = samples_of(["red", "blue"])

    def work() -> Any:
        if not is_first():
            with torch.no_grad():
                next(model.adapter.parameters()).add_(1.0)  # as it would be after another decision
        found = gated_int8(model, samples, None, lambda _: None)
        return found, {name: tensor.clone() for name, tensor in model.adapter.state_dict().items()}

    (found, one), (same, two) = in_two(work)
    assert found == same
    assert all(torch.equal(one[name], two[name]) for name in one)
