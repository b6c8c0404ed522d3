"""AMBER by exact matching: the figures by hand, and the responses for the official evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import answered, opened, write_official

from inlay.recipes.evaluation.errors import BenchmarkError

SAID = {
    "1": "The sky over sand, with ships and a car.",  # ships and car are not there; ship is a typical hallucination
    "2": "A tree and a cloud.",  # cloud is a safe word
    "3": "Yes, it is.",
    "4": "No",
    "5": "Yes",
}


def test_the_figures_of_descriptions(tmp_path: Path) -> None:
    benchmark, _, items = opened("amber_exact", tmp_path / "amber")
    figures = answered(benchmark, items, SAID).figures
    assert figures["chair"] == pytest.approx(100 * 2 / 6)
    assert figures["cover"] == 100
    assert figures["hal"] == 50
    assert figures["cog"] == pytest.approx(100 * 1 / 3)


def test_the_figures_of_answers_have_no_as_the_positive(tmp_path: Path) -> None:
    benchmark, _, items = opened("amber_exact", tmp_path / "amber")
    scored = answered(benchmark, items, SAID)
    figures = scored.figures
    assert (figures["precision"], figures["recall"]) == (100, 50)
    assert figures["accuracy"] == pytest.approx(200 / 3)
    assert figures["f1"] == pytest.approx(200 / 3)
    assert (figures["existence accuracy"], figures["attribute accuracy"], figures["relation accuracy"]) == (100, 100, 0)
    assert figures["amber"] == pytest.approx((100 - 100 / 3 + 200 / 3) / 2)
    assert scored.main(np.sum(scored.counts, axis=0)) == pytest.approx(figures["amber"])


@pytest.mark.parametrize(
    ("place", "change", "told"),
    [
        (0, {"truth": ["sky", "moon"]}, "id 1: expected objects of relation.json, got 'moon'"),
        (2, {"truth": "maybe"}, "id 3, truth: expected 'yes' or 'no'"),
        (4, {"id": 9}, "no entry with id 5 at place 4"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, place: int, change: dict[str, object], told: str) -> None:
    path = write_official("amber_exact", tmp_path / "amber") / "data" / "annotations.json"
    notes = json.loads(path.read_text())
    notes[place] |= change
    path.write_text(json.dumps(notes))
    with pytest.raises(BenchmarkError, match=told):
        opened("amber_exact", tmp_path / "amber")


def test_the_responses_are_those_of_inference_py(tmp_path: Path) -> None:
    benchmark, files, items = opened("amber_exact", tmp_path / "amber")
    benchmark.results.write(tmp_path / "out.json", items, list(SAID.values()), files)
    rows = json.loads((tmp_path / "out.json").read_text())
    assert rows == [{"id": int(name), "response": "Yes" if name == "3" else text} for name, text in SAID.items()]
