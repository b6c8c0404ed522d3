"""GQA: accuracy by type, and the file of the official evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_files import answered, opened


def test_accuracy_by_type(tmp_path: Path) -> None:
    benchmark, _, items = opened("gqa", tmp_path / "gqa")
    figures = answered(benchmark, items, {"201": "Yes.", "202": "a dog", "203": "Cat"}).figures
    assert figures == pytest.approx(
        {
            "accuracy": 200 / 3,
            "binary": 100,
            "open": 0,
            "structural verify": 100,
            "structural query": 0,
            "structural choose": 100,
            "semantic attr": 100,
            "semantic obj": 50,
        }
    )


def test_the_predictions_are_those_of_eval_py(tmp_path: Path) -> None:
    benchmark, files, items = opened("gqa", tmp_path / "gqa")
    benchmark.results.write(tmp_path / "out.json", items, ["Yes.", "Dog", "cat"], files)
    rows = [{"questionId": "201", "prediction": "yes"}, {"questionId": "202", "prediction": "dog"}]
    assert json.loads((tmp_path / "out.json").read_text()) == [*rows, {"questionId": "203", "prediction": "cat"}]
