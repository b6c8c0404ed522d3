"""POPE: three sets with hand-computed figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmark_files import answered, opened, write_official

from inlay.recipes.evaluation.errors import BenchmarkError


def test_the_figures_of_each_set_and_the_accuracy_of_all(tmp_path: Path) -> None:
    benchmark, _, items = opened("pope", tmp_path / "pope")
    said = {
        **dict(zip([f"random-{n}" for n in range(1, 5)], ["Yes.", "No, there is none.", "yes", "no"], strict=True)),
        **dict(zip([f"popular-{n}" for n in range(1, 5)], ["yes", "yes", "Yes", "No"], strict=True)),
        # Officially a text without "no" is a yes, also "NO"; labels are yes, no, yes, no.
        **dict(zip([f"adversarial-{n}" for n in range(1, 5)], ["a dog", "There is not.", "NO", ""], strict=True)),
    }
    figures = answered(benchmark, items, said).figures
    assert figures["accuracy"] == pytest.approx(100 * (4 + 3 + 3) / 12)
    assert (figures["random_accuracy"], figures["popular_accuracy"], figures["adversarial_accuracy"]) == (100, 75, 75)
    assert figures["popular_precision"] == pytest.approx(200 / 3)
    assert figures["popular_recall"] == 100
    assert figures["popular_f1"] == pytest.approx(80)
    assert figures["adversarial_yes_ratio"] == 75
    assert figures["adversarial_unclear"] == 50


def test_the_prompt_is_the_question_with_the_instruction(tmp_path: Path) -> None:
    _, _, items = opened("pope", tmp_path / "pope")
    expected = "Is there a dog in the image?\nAnswer the question using a single word or phrase."
    assert items[0].prompt[0].text == expected
    assert opened("pope", tmp_path / "pope", "")[2][0].prompt[0].text == "Is there a dog in the image?"


def test_questions_about_a_picture_are_one_cluster_in_all_sets(tmp_path: Path) -> None:
    _, _, items = opened("pope", tmp_path / "pope")
    assert len(items) == 12
    assert {item.cluster for item in items} == {"COCO_val2014_000000000001.jpg", "COCO_val2014_000000000002.jpg"}


def test_another_label_is_refused(tmp_path: Path) -> None:
    root = write_official("pope", tmp_path / "pope")
    row = json.dumps({"question_id": 1, "image": "a.jpg", "text": "?", "label": "maybe"})
    (root / "coco_pope_popular.json").write_text(f"{row}\n{row}\n")
    with pytest.raises(BenchmarkError, match=r"coco_pope_popular\.json, line 1, label: expected 'yes' or 'no'"):
        opened("pope", root)
