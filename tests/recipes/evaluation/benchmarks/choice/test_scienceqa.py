"""ScienceQA: accuracy of the subsets by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_files import answered, opened


def test_accuracy_overall_and_of_subsets(tmp_path: Path) -> None:
    benchmark, _, items = opened("scienceqa", tmp_path / "sqa")
    figures = answered(benchmark, items, {"3": "B. b", "4": "The answer is C.", "5": "B"}).figures
    subsets = {"IMG": 100, "TXT": 100, "NO": 0, "NAT": 100, "SOC": 100, "LAN": 0, "G1-6": 100, "G7-12": 50}
    assert figures == pytest.approx({"accuracy": 200 / 3, **subsets})


def test_the_prompt_has_the_hint_and_the_options(tmp_path: Path) -> None:
    prompts = [item.prompt for item in opened("scienceqa", tmp_path / "sqa")[2]]
    tail = "Answer with the option's letter from the given choices directly."
    assert prompts[0][0].text == f"Which?\nA. a\nB. b\n{tail}"
    assert prompts[1][0].text == f"Context: Look.\nWhat?\nA. x\nB. y\nC. z\n{tail}"
    assert [len(prompt[0].content) for prompt in prompts] == [2, 2, 1]


def test_the_results_have_the_official_form(tmp_path: Path) -> None:
    benchmark, files, items = opened("scienceqa", tmp_path / "sqa")
    benchmark.results.write(tmp_path / "out.json", items, ["B", "none", "A"], files)
    assert json.loads((tmp_path / "out.json").read_text())["results"] == {"3": 1, "4": -1, "5": 0}
