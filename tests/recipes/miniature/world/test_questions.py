from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from inlay.recipes.miniature.world.questions import KINDS, human_answers, questions, yes_no
from inlay.recipes.miniature.world.scenes import Scene

Evaluate = Callable[[Scene, str, str], str]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_true(kind: str, scenes: list[Scene], evaluate: Evaluate) -> None:
    rng = Random(0)
    for scene in scenes:
        for question in questions(scene, rng):
            if question.kind == kind:
                assert evaluate(scene, kind, question.text) == question.answer, (scene, question)


def test_every_kind_is_asked_where_it_can_be(scenes: list[Scene]) -> None:
    for scene in scenes:
        kinds = [question.kind for question in questions(scene, Random(0))]
        assert kinds == [kind for kind in KINDS if kind != "comparison" or len(scene.things) > 1]


def test_the_truth_of_a_yes_no_question_can_be_chosen(scenes: list[Scene], evaluate: Evaluate) -> None:
    rng = Random(0)
    for number, scene in enumerate(scenes):
        question = yes_no(scene, rng, truth=number % 2 == 0)
        assert question.answer == ("yes", "no")[number % 2] == evaluate(scene, "yesno", question.text)


def test_wording_does_not_give_the_answer_away(scenes: list[Scene]) -> None:
    rng = Random(0)
    asked = [question for _ in range(8) for scene in scenes for question in questions(scene, rng)]
    best: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for question in asked:
        best[question.kind][question.answer] += 1
    shares = {kind: max(counts.values()) / counts.total() for kind, counts in best.items()}
    limits = {"colour": 0.2, "shape": 0.25, "place": 0.2, "size": 0.56, "yesno": 0.53, "count": 0.45, "comparison": 0.3}
    assert all(shares[kind] <= limit for kind, limit in limits.items()), shares


def test_human_answers_are_ten_and_the_truth_has_the_majority(scenes: list[Scene]) -> None:
    rng = Random(0)
    for scene in scenes:
        for question in questions(scene, rng):
            answers = human_answers(question, rng)
            assert len(answers) == 10
            assert answers.count(question.answer) >= 6


def test_some_people_disagree(scenes: list[Scene]) -> None:
    rng = Random(0)
    asked = [question for scene in scenes for question in questions(scene, rng)]
    slips = sum(answer != question.answer for question in asked for answer in human_answers(question, rng))
    assert 0.10 < slips / (10 * len(asked)) < 0.17
