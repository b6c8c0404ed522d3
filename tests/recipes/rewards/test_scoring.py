"""Rewards of answers: the built-in ones against the metrics, sums, and functions that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from registries import forgotten

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.data.rows.sample import Question, Sample
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy
from inlay.recipes.rewards.registry import RewardError, register_reward
from inlay.recipes.rewards.scoring import scorer_of
from inlay.recipes.rewards.terms import RewardSettings

CLASSES = ObjectVocabulary.of(["red circle", "blue star", "black ring"])


def question_of(*answers: str, text: str = "what?") -> Question:
    return Question((Message("user", (TextPart(text),)),), answers[0], answers, "")


def sample_of(description: str = "") -> Sample:
    return Sample("7", (), "train.json, item 12", description=description)


def reward(name: str, answer: str, *answers: str, text: str = "what?", description: str = "") -> float:
    scorer = scorer_of(RewardSettings(reward=name, min_words=2, max_words=5), vocabulary=CLASSES)
    return scorer(question_of(*answers, text=text), answer, sample_of(description)).total


@pytest.mark.parametrize(
    ("name", "answer", "answers", "value"),
    [
        ("exact", " Red.", ("red",), 1.0),
        ("exact", "dark red", ("red",), 0.0),
        ("vqa", "two", ("2",) * 3 + ("3",) * 7, 0.9),
        ("pope", "No, there is none.", ("no",), 1.0),
        ("pope", "Yes", ("No.",), 0.0),
        ("pope", "there is not a cat", ("yes",), 0.0),
        ("length", "one two", ("x",), 0.0),
        ("length", "one", ("x",), -0.5),
        ("length", "1 2 3 4 5 6", ("x",), -0.2),
        ("length", "", ("x",), -1.0),
    ],
)
def test_built_in_rewards(name: str, answer: str, answers: tuple[str, ...], value: float) -> None:
    assert reward(name, answer, *answers) == pytest.approx(value)


def test_vqa_is_the_metric() -> None:
    people = ["red"] * 4 + ["dark red"] * 6
    assert reward("vqa", "red", *people) == vqa_accuracy("red", people)


@pytest.mark.parametrize(("answer", "value"), [("B", 1.0), ("The answer is A.", 0.0), ("blue", 1.0)])
def test_choice_reads_the_options_of_the_question(answer: str, value: float) -> None:
    assert reward("choice", answer, "B", text="which?\nA. red\nB. blue") == value


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("a red circle and a blue star.", 1.0),
        ("a red circle.", 0.5),
        ("a red circle and a black ring.", 0.0),
        ("a black ring.", -1.0),
        ("nothing to see.", 0.0),
        ("a red circle, a red circle, a black ring, and a blue star", 0.75),
    ],
)
def test_objects_are_rewarded_and_hallucinations_cost(answer: str, value: float) -> None:
    assert reward("objects", answer, "a red circle.", description="a blue star.") == value


def test_silence_does_not_win() -> None:
    half_right = reward("objects", "a red circle and a blue star and a black ring.", "a red circle and a blue star.")
    assert half_right > reward("objects", "I cannot say.", "a red circle and a blue star.")


@pytest.mark.parametrize(
    ("name", "question", "told"),
    [
        ("pope", question_of("maybe"), "the reference answer is 'maybe', not yes or no"),
        ("choice", question_of("B"), "lists no options"),
        ("choice", question_of("C", text="which?\nA. red\nB. blue"), "'C' is none of the options"),
        ("objects", question_of("nothing"), "names no object"),
        ("vqa", question_of(" "), "no reference answer"),
        ("exact", question_of("red"), ""),
    ],
)
def test_questions_that_cannot_be_scored_are_named(name: str, question: Question, told: str) -> None:
    found = scorer_of(RewardSettings(reward=name), vocabulary=CLASSES).problem(question, sample_of())
    assert (told in found) if told else not found


def test_rewards_are_summed_with_their_weights() -> None:
    with forgotten():
        register_reward("letters", lambda question, answer, sample: len(answer))
        scored = scorer_of(RewardSettings(reward="exact,0.5*letters"))(question_of("red"), "red", sample_of())
    assert (scored.total, scored.parts) == (2.5, {"exact": 1.0, "letters": 3.0})


def test_classes_of_a_file_have_synonyms(tmp_path: Path) -> None:
    (tmp_path / "objects.txt").write_text("person, man, woman\ndog, puppy\n")
    scorer = scorer_of(RewardSettings(reward="objects", objects=tmp_path / "objects.txt"), vocabulary=CLASSES)
    assert scorer(question_of("a man with a dog"), "a woman with puppies", sample_of()).total == 1.0


def test_objects_need_classes() -> None:
    with pytest.raises(RewardError, match="--objects FILE"):
        scorer_of(RewardSettings(reward="objects"))


def test_a_function_that_fails_names_the_row() -> None:
    def score(question: Question, answer: str, sample: Sample) -> float:
        raise KeyError("boxes")

    told = r"reward score: score failed for train\.json, item 12 \(id 7\), answer 'red': KeyError: 'boxes'"
    with pytest.raises(RewardError, match=told):
        scorer_of(function=score)(question_of("red"), "red", sample_of())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "1", [1.0], torch.tensor([1.0]), 1j])
def test_a_value_that_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(RewardError, match=r"item 12 .*expected a finite number"):
        scorer_of(function=lambda question, answer, sample: value)(question_of("red"), "red", sample_of())


@pytest.mark.parametrize("value", [True, 1, 1.0, torch.tensor(1.0)])
def test_numbers_of_any_kind_are_taken(value: Any) -> None:
    function: Callable[..., Any] = lambda question, answer, sample: value  # noqa: E731
    total = scorer_of(function=function)(question_of("red"), "red", sample_of()).total
    assert type(total) is float
    assert total == 1.0
