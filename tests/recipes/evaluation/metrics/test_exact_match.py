"""Exact match, case by case and as a metric."""

from __future__ import annotations

import pytest

from inlay.recipes.evaluation.metrics import ExactMatch, MetricError, exact_match


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("red", "red", True),
        ("Red.", "red", True),
        (' "RED" ', "red", True),
        ("dark  red", "dark\nred", True),
        ("(a)", "A", True),
        ("Straße", "STRASSE", True),
        ("3.5", "35", False),
        ("t-shirt", "t shirt", False),
        ("a red disc", "red disc", False),
        ("", "red", False),
    ],
)
def test_case_space_and_outer_punctuation_do_not_count(prediction: str, answer: str, right: bool) -> None:
    assert exact_match(prediction, [answer]) == float(right)


def test_any_of_the_answers_is_right() -> None:
    assert exact_match("disc", ["circle", "disc"]) == 1.0


def test_no_answer_is_an_error() -> None:
    with pytest.raises(MetricError, match="at least one right answer"):
        exact_match("red", [])


def test_the_mean_is_reported_over_all_and_by_kind() -> None:
    metric = ExactMatch(kinds=["colour", "shape"])
    metric.update(["red", "blue", "disc"], [["red"], ["green"], ["disc"]], ["colour", "colour", "shape"])
    computed = {kind: round(value.item(), 6) for kind, value in metric.compute().items()}
    assert computed == {"overall": round(2 / 3, 6), "colour": 0.5, "shape": 1.0}
