"""How questions are asked and answered: what goes together, and what is said where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.evaluation.decoding import AnswerSettings, candidates_of
from inlay.recipes.settings.errors import SettingsError

PUBLISHED = {"num_beams": 5, "length_penalty": -1.0, "max_new_tokens": 10}


def test_what_is_given_goes_before_what_is_published_and_that_before_the_default() -> None:
    assert AnswerSettings().decoded(PUBLISHED, 16) == {"max_new_tokens": 16}
    assert AnswerSettings(decoding="published").decoded(PUBLISHED, 16) == PUBLISHED
    chosen = AnswerSettings(decoding="published", max_new_tokens=3, repetition_penalty=1.5)
    assert chosen.decoded(PUBLISHED, 16) == PUBLISHED | {"max_new_tokens": 3, "repetition_penalty": 1.5}


def test_zero_is_a_value_and_not_nothing() -> None:
    assert AnswerSettings(length_penalty=0.0, min_new_tokens=0).options == {"length_penalty": 0.0, "min_new_tokens": 0}


def test_another_prompt_leaves_the_rest_of_the_layout() -> None:
    own = Layout.published("blip2", prompt="Question: {} Answer:")
    assert AnswerSettings().layout(own) is own
    other = AnswerSettings(prompt="").layout(own)
    assert (other.prompt, other.stop, other.bos) == ("", own.stop, own.bos)


def test_questions_are_phrased_and_pictures_and_answers_are_not() -> None:
    picture = MediaPart("image", "1.png")
    asked = (
        Message("user", (picture, TextPart("How many? (Cats!)"))),
        Message("assistant", (TextPart("Two."),)),
        Message("user", (picture,)),
    )
    said = AnswerSettings(phrasing="blip").phrased(asked)
    assert said[0] == Message("user", (picture, TextPart("how many? cats")))
    assert said[1:] == asked[1:]
    assert AnswerSettings().phrased(asked) == asked


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"num_beams": 0}, "num_beams: expected a number from 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected a number from 1, got 0"),
        ({"min_new_tokens": -1}, "expected min_new_tokens >= 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty > 0"),
        ({"min_new_tokens": 5, "max_new_tokens": 4}, "expected at most max_new_tokens 4, got 5"),
        ({"prompt": "{} or {}"}, "expected one {} for the question, or none"),
        ({"rank": "yes,no", "num_beams": 2}, "ranked answers are not generated"),
        ({"rank": "yes,no", "decoding": "published"}, "ranked answers are not generated"),
    ],
)
def test_contradictions_are_said(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as error:
        AnswerSettings(**fields)
    assert told in str(error.value)


def test_candidates_stand_in_a_list_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text("yes\n\n no, thanks \n")
    assert candidates_of(None) == ()
    assert candidates_of(str(tmp_path / "answers.txt")) == ("yes", "no, thanks")


@pytest.mark.parametrize(
    ("rank", "told"),
    [
        ("yes", "two or more"),
        ("yes,yes", "different"),
        (",", "two or more"),
        ("gone.txt", r"gone\.txt: cannot be read"),
    ],
)
def test_what_cannot_be_chosen_from_is_an_error(rank: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        candidates_of(rank)
