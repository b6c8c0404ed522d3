"""VQA accuracy against the rule written out as loops, by hand, by kind and over processes."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inlay.recipes.evaluation.metrics import MetricError, VQAAccuracy, normalize_answer, vqa_accuracy


def reference(prediction: str, answers: Sequence[str]) -> float:
    """Leave each answer out in turn, count the matches among the others, average."""
    prediction, truths = normalize_answer(prediction), [normalize_answer(answer) for answer in answers]
    if len(truths) == 1:
        return float(truths[0] == prediction)
    scores = []
    for left_out in range(len(truths)):
        matching = [truth for place, truth in enumerate(truths) if place != left_out and truth == prediction]
        scores.append(min(1.0, len(matching) / 3))
    return sum(scores) / len(scores)


OFFICIAL: list[tuple[str, list[str], float, float]] = [
    ("red", ["red"] * 10, 1.0, 1.0),
    ("red.", ["red"] * 10, 0.0, 1.0),
    ("Red.", ["red"] * 10, 0.0, 1.0),
    ("the red", ["red"] * 10, 0.0, 1.0),
    ("red.", ["red"] * 9 + ["blue"], 1.0, 1.0),
    ("Two.", ["2"] * 3 + ["3"] * 7, 0.9, 0.9),
    ("2", ["two"] * 9 + ["2"], 1.0, 0.3),
    ("t-shirt", ["t shirt"] * 6 + ["tshirt"] * 4, 1.0, 1.0),
    ("dont", ["don't"] * 5 + ["no"] * 5, 1.0, 1.0),
    ("yes, it is", ["yes"] * 9 + ["yes it is"], 0.3, 0.3),
    ("1,000", ["1000"] * 4 + ["many"] * 6, 1.0, 1.0),
    ("", ["none"] * 5 + ["0"] * 5, 0.0, 0.0),
    ("a dog", ["dog"] * 2 + ["cat"] * 8, 0.6, 0.6),
]
"""Prediction, people's answers, and the accuracy that vqaEval.py of github.com/GT-Vision-Lab/VQA prints at revision
a013f0043c1e2cdc995922dfe257f7149aa9af06 and at 458a8b268b1a239dc388e0af4423f3fe7477b04f, the one before it."""


@pytest.mark.parametrize(("prediction", "answers", "official", "before"), OFFICIAL)
def test_the_official_code_gives_the_same_where_people_differ(
    prediction: str, answers: list[str], official: float, before: float
) -> None:
    if len(set(answers)) > 1:
        assert vqa_accuracy(prediction, answers) == pytest.approx(official, abs=1e-12)
    else:  # Only the earlier revision normalises the prediction there.
        assert vqa_accuracy(prediction, answers) == pytest.approx(before, abs=1e-12)


@pytest.mark.parametrize(("agree", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0), (10, 1.0)])
def test_ten_people_of_whom_some_agree(agree: int, expected: float) -> None:
    assert vqa_accuracy("red", ["red"] * agree + ["blue"] * (10 - agree)) == pytest.approx(expected, abs=1e-12)


def test_it_is_not_the_popular_shortcut() -> None:
    assert vqa_accuracy("red", ["red"] * 3 + ["blue"] * 7) != min(1, 3 / 3)


def test_a_prediction_is_normalised_where_people_agree() -> None:
    assert [vqa_accuracy(said, ["red"] * 10) for said in ("red.", "Red", "the red", "blue")] == [1.0, 1.0, 1.0, 0.0]


def test_answers_of_people_are_normalised_where_they_agree() -> None:
    assert [vqa_accuracy(said, ["Two."] * 10) for said in ("two", "2", "Two.")] == [1.0, 1.0, 1.0]


def test_differing_answers_are_normalised_on_both_sides() -> None:
    assert vqa_accuracy("The 2", ["two"] * 9 + ["Two!"]) == 1.0


@pytest.mark.parametrize(("people", "expected"), [(1, 1.0), (2, 1 / 3), (3, 2 / 3), (4, 1.0), (12, 1.0)])
def test_full_agreement_of_other_numbers_of_people(people: int, expected: float) -> None:
    assert vqa_accuracy("red", ["red"] * people) == pytest.approx(expected, abs=1e-12)


def test_a_single_answer_gives_all_or_nothing() -> None:
    assert [vqa_accuracy("two", ["2"]), vqa_accuracy("2 ", ["2"]), vqa_accuracy("3", ["2"])] == [1.0, 1.0, 0.0]


def test_no_answer_is_an_error() -> None:
    with pytest.raises(MetricError, match="at least one human answer"):
        vqa_accuracy("red", [])


ANSWERS = st.sampled_from(["two", "2", "Two.", "the two", "three", "", "no", "None", "0", " two\n"])


@given(ANSWERS, st.lists(ANSWERS, min_size=2, max_size=12))
def test_implementation_and_reference_agree(prediction: str, answers: list[str]) -> None:
    assert vqa_accuracy(prediction, answers) == pytest.approx(reference(prediction, answers), abs=1e-12)


BATCH = (["red", "2", "dog"], [["red"] * 10, ["two"] * 3 + ["three"] * 7, ["cat"] * 10])
KINDS = ["colour", "count", "animal"]


def figures(metric: VQAAccuracy) -> dict[str, float]:
    return {kind: round(value.item(), 6) for kind, value in metric.compute().items()}


def test_the_mean_is_reported_over_all_and_by_kind() -> None:
    metric = VQAAccuracy(kinds=["colour", "count"])
    metric.update(*BATCH, KINDS)
    assert figures(metric) == {"overall": round(1.9 / 3, 6), "colour": 1.0, "count": 0.9, "other": 0.0}


def test_other_may_be_named_itself() -> None:
    metric = VQAAccuracy(kinds=["other"])
    metric.update(*BATCH, ["other"] * 3)
    assert figures(metric) == {"overall": round(1.9 / 3, 6), "other": round(1.9 / 3, 6)}


def test_a_kind_that_was_not_seen_is_left_out() -> None:
    metric = VQAAccuracy(kinds=["colour", "place"])
    metric.update(["red"], [["red"] * 10], ["colour"])
    assert figures(metric) == {"overall": 1.0, "colour": 1.0}


def test_without_kinds_there_is_one_figure() -> None:
    metric = VQAAccuracy()
    metric.update(*BATCH)
    assert figures(metric) == {"overall": round(1.9 / 3, 6)}


@pytest.mark.parametrize("kinds", [["a", "a"], ["overall"]])
def test_kinds_must_be_different_and_not_overall(kinds: list[str]) -> None:
    with pytest.raises(MetricError, match="kinds: expected different names"):
        VQAAccuracy(kinds=kinds)


@pytest.mark.parametrize(
    ("predictions", "answers", "kinds"),
    [(["a"], [], None), (["a"], [["a"]], []), ([], [["a"]], None), (["a"], [[]], None), (["a"], ["a"], None)],
)
def test_what_does_not_belong_together_is_an_error(
    predictions: list[str], answers: list[list[str]], kinds: list[str] | None
) -> None:
    metric = VQAAccuracy()
    with pytest.raises(MetricError):
        metric.update(predictions, answers, kinds)
    assert metric.counts.sum() == 0


def test_two_processes_give_what_one_gives() -> None:
    first, second, whole = (VQAAccuracy(kinds=["colour", "count"]) for _ in range(3))
    first.update(BATCH[0][:1], BATCH[1][:1], KINDS[:1])
    second.update(BATCH[0][1:], BATCH[1][1:], KINDS[1:])
    whole.update(*BATCH, KINDS)
    first.merge_state(second)
    assert figures(first) == figures(whole)


def test_the_states_are_sums_of_one_shape_in_every_process() -> None:
    metric = VQAAccuracy(kinds=["colour", "count"])
    gathered = torch.stack([torch.ones(3), torch.ones(3)])  # what torchmetrics reduces after gathering
    assert {name: state.shape for name, state in metric.metric_state.items()} == {"scores": (3,), "counts": (3,)}
    for reduce in metric._reductions.values():
        assert callable(reduce)
        assert reduce(gathered).tolist() == [2.0, 2.0, 2.0]


def test_batches_forget_nothing_and_reset_forgets_all() -> None:
    metric = VQAAccuracy()
    metric.update(["red"], [["red"] * 10])
    metric.update(["red"], [["blue"] * 10])
    assert figures(metric) == {"overall": 0.5}
    metric.reset()
    metric.update(["red"], [["red"] * 10])
    assert figures(metric) == {"overall": 1.0}


def test_the_means_of_many_are_exact() -> None:
    metric = VQAAccuracy()
    for _ in range(10):
        metric.update(["red"] * 1000, [["red"] + ["blue"] * 9] * 1000)
    assert metric.compute()["overall"].item() == pytest.approx(0.3, abs=1e-12)


def test_it_can_be_sent_to_another_process() -> None:
    metric = VQAAccuracy(kinds=["colour"])
    metric.update(["red"], [["red"] * 10], ["colour"])
    assert figures(pickle.loads(pickle.dumps(metric))) == {"overall": 1.0, "colour": 1.0}


def test_the_official_answer_types_are_reported_one_by_one() -> None:
    metric = VQAAccuracy(kinds=["yes/no", "number", "other"])
    metric.update(
        ["yes", "2", "dog"], [["yes"] * 10, ["3"] * 10, ["dog"] * 5 + ["cat"] * 5], ["yes/no", "number", "other"]
    )
    assert figures(metric) == {"overall": round(2 / 3, 6), "yes/no": 1.0, "number": 0.0, "other": 1.0}
