"""VQA v2: accuracy by hand, the server's file, and a test set without answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_files import answered, opened, write_official

from inlay.recipes.evaluation.errors import BenchmarkError


def test_accuracy_overall_and_by_type(tmp_path: Path) -> None:
    benchmark, _, items = opened("vqav2", tmp_path / "vqa")
    # Three of ten said red: 0.9. Nobody said no: 0. Nine of ten said 2: 1.
    figures = answered(benchmark, items, {"10": "Red.", "11": "no", "20": "two"}).figures
    assert figures == pytest.approx({"accuracy": 100 * 1.9 / 3, "other": 90, "yes/no": 0, "number": 100})


def test_the_results_file_is_what_the_server_takes(tmp_path: Path) -> None:
    benchmark, files, items = opened("vqav2", tmp_path / "vqa")
    benchmark.results.write(tmp_path / "out.json", items, ["red", "no", "two"], files)
    assert json.loads((tmp_path / "out.json").read_text()) == [
        {"question_id": 10, "answer": "red"},
        {"question_id": 11, "answer": "no"},
        {"question_id": 20, "answer": "two"},
    ]


def test_a_test_set_has_no_answers(tmp_path: Path) -> None:
    root = write_official("vqav2", tmp_path / "vqa")
    (root / "v2_OpenEnded_mscoco_val2014_questions.json").rename(
        root / "v2_OpenEnded_mscoco_test-dev2015_questions.json"
    )
    assert [item.gold for item in opened("vqav2", root)[2]] == [None] * 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda notes: notes.pop(), "has no annotation of question 20"),
        (lambda notes: notes[0]["answers"].pop(), "annotation 0, answers: expected ten human answers, got 9"),
        (lambda notes: notes[0].pop("answers"), "no field 'answers'"),
    ],
)
def test_wrong_annotations_are_refused(tmp_path: Path, change: object, told: str) -> None:
    root = write_official("vqav2", tmp_path / "vqa")
    path = root / "v2_mscoco_val2014_annotations.json"
    document = json.loads(path.read_text())
    change(document["annotations"])
    path.write_text(json.dumps(document))
    with pytest.raises(BenchmarkError, match=told):
        opened("vqav2", root)
