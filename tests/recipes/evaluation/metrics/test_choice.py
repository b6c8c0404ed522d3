"""Multiple choice: which option an answer chooses."""

from __future__ import annotations

import pytest

from inlay.recipes.evaluation.metrics.choice import choice_score, chosen_option, options_of

QUESTION = "What colour is the car?\nA. red\nB. dark blue\n(C) green\nAnswer with the option's letter."


def test_options_are_read_from_their_lines() -> None:
    assert options_of(QUESTION) == {"A": "red", "B": "dark blue", "C": "green"}


@pytest.mark.parametrize("text", ["What is it?", "A. one alone", "B. it\nC. begins late", "Is it a dog or a cat?"])
def test_other_questions_have_no_options(text: str) -> None:
    assert options_of(text) == {}


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("B", "B"),
        (" B. dark blue", "B"),
        ("(C) green", "C"),
        ("The answer is A.", "A"),
        ("Answer: C", "C"),
        ("Dark blue.", "B"),
        ("A red car stands there", None),
        ("D", None),
        ("", None),
    ],
)
def test_a_letter_or_the_text_of_an_option_chooses_it(said: str, chosen: str | None) -> None:
    assert chosen_option(said, options_of(QUESTION)) == chosen


def test_the_reference_is_a_letter_or_a_text() -> None:
    assert choice_score("B", QUESTION, "dark blue") == choice_score("dark blue", QUESTION, "B") == 1.0
    assert choice_score("red", QUESTION, "B") == choice_score("I do not know", QUESTION, "B") == 0.0


def test_without_options_ranked_answers_are_compared_as_texts() -> None:
    assert choice_score("Yes", "is it red?", "yes.") == 1.0
    assert choice_score("no", "is it red?", "yes") == 0.0
