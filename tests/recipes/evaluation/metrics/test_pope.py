"""POPE, beside scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from inlay.recipes.evaluation.metrics import MetricError, Pope, says_yes


def figures(metric: Pope) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


YES_NO = st.sampled_from(["yes", "no"])


@given(st.lists(st.tuples(YES_NO, YES_NO), min_size=1, max_size=20))
def test_the_figures_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    said, labels = (list(column) for column in zip(*pairs, strict=True))
    metric = Pope()
    metric.update(said, labels)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, said, pos_label="yes", labels=["yes"], average="binary", zero_division=0
    )
    assert figures(metric) == pytest.approx(
        {
            "accuracy": accuracy_score(labels, said),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "yes_ratio": said.count("yes") / len(said),
            "unclear": 0,
        }
    )


@pytest.mark.parametrize(
    ("answer", "yes"),
    [
        ("Yes", True),
        ("yes, there is a dog.", True),
        ("No", False),
        ("no", False),
        ("No, there is none", False),
        ("There is not a dog", False),
        ("There is no dog. Yes.", False),
        ("Yes. No.", True),
        ("NO", True),
        ("none", True),
        ("No!", True),
        ("", True),
    ],
)
def test_answers_are_read_as_officially(answer: str, yes: bool) -> None:
    assert says_yes(answer) is yes


def test_answers_with_neither_word_are_reported() -> None:
    metric = Pope()
    metric.update(["a dog", "NO!", "nobody", "Yes"], ["no"] * 4)
    assert figures(metric)["unclear"] == 0.5


def test_two_processes_give_what_one_gives() -> None:
    said, labels = ["yes", "no", "dog"], ["no", "no", "yes"]
    first, second, whole = Pope(), Pope(), Pope()
    first.update(said[:1], labels[:1])
    second.update(said[1:], labels[1:])
    whole.update(said, labels)
    first.merge_state(second)
    assert figures(first) == figures(whole)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_nothing_seen_is_not_a_number() -> None:
    assert all(math.isnan(value) for value in figures(Pope()).values())


@pytest.mark.parametrize(
    ("said", "labels"), [(["yes"], []), (["yes"], ["Yes"]), (["yes"], [None]), ("yes", ["yes"] * 3)]
)
def test_what_does_not_belong_together_is_an_error(said: Any, labels: Any) -> None:
    metric = Pope()
    with pytest.raises(MetricError, match="label"):
        metric.update(said, labels)
    assert metric.table.sum() == 0
