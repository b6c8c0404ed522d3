from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from inlay.recipes.miniature.media.questions import ask_of, attributes_of, questions_of
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES, MediumSpec, Movement, Tone

EVERYTHING = (*DRAWINGS, *TONES, *MOVEMENTS)


def test_a_long_beep_has_no_tempo() -> None:
    assert attributes_of(Tone("one long", "low", "pure")) == {"pitch": "low", "timbre": "pure", "count": "1"}


@pytest.mark.parametrize("value", [DRAWINGS[0], TONES[-1], MOVEMENTS[0]])
def test_every_attribute_is_asked_for_and_one_claim_made(value: MediumSpec) -> None:
    asked = questions_of(value, Random(0))
    answers = attributes_of(value)
    assert sorted(one.kind for one in asked) == sorted([*answers, "yesno"])
    assert all(one.answer == answers[one.kind] for one in asked if one.kind != "yesno")


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_claims_are_true_where_the_answer_is_yes(answer: str) -> None:
    rng = Random(1)
    for value in EVERYTHING:
        asked = ask_of(value, answer, rng)
        claimed = asked.text.rstrip("?").split()[-1]
        assert (claimed in attributes_of(value).values()) is (answer == "yes"), asked


def test_answers_cannot_be_guessed_from_the_wording() -> None:
    rng = Random(2)
    said: dict[str, Counter[str]] = {}
    for value in EVERYTHING * 2:
        for one in questions_of(value, rng):
            said.setdefault(one.text, Counter())[one.answer] += 1
    for text, answers in said.items():
        if answers.total() > 60 and "yes" not in answers and "no" not in answers:
            assert answers.most_common(1)[0][1] / answers.total() < 0.6, (text, answers)


def test_one_seed_asks_the_same() -> None:
    value = Movement("red", "circle", "up")
    assert questions_of(value, Random(3)) == questions_of(value, Random(3))
