"""Templates: words in their place, and a choice that is the same at any time."""

from __future__ import annotations

from collections import Counter

import pytest

from inlay.recipes.data import DataError
from inlay.recipes.data.preparation.instruction_templates import (
    CAPTION,
    DESCRIBE,
    QUESTION,
    blip_caption,
    blip_question,
    choose,
    fill,
)


def test_every_template_for_questions_has_one_place_and_the_others_none() -> None:
    assert {template.count("{}") for template in QUESTION} == {1}
    assert {template.count("{}") for template in CAPTION + DESCRIBE} == {0}


@pytest.mark.parametrize("templates", [QUESTION, CAPTION, DESCRIBE])
def test_templates_are_different(templates: tuple[str, ...]) -> None:
    assert len(set(templates)) == len(templates)


@pytest.mark.parametrize("words", ["{}", "{0}", "%s", "{question!r}"])
def test_words_are_never_looked_into(words: str) -> None:
    assert fill("Question: {} Short answer:", words) == f"Question: {words} Short answer:"


@pytest.mark.parametrize(("template", "words"), [("Describe.", "How many?"), ("{}", ""), ("{} {}", "How many?")])
def test_words_and_places_belong_together(template: str, words: str) -> None:
    with pytest.raises(DataError, match="expected a template with"):
        fill(template, words)


def test_all_templates_are_chosen_about_equally_often() -> None:
    chosen = Counter(choose(QUESTION, str(number), seed=3) for number in range(900))
    assert chosen.keys() == set(QUESTION)
    assert all(60 < count < 140 for count in chosen.values())


def test_seed_and_visit_change_the_choice() -> None:
    names = [str(number) for number in range(50)]
    first = [choose(QUESTION, name, seed=0) for name in names]
    assert first == [choose(QUESTION, name, seed=0) for name in names]
    assert first != [choose(QUESTION, name, seed=1) for name in names]
    assert first != [choose(QUESTION, name, seed=0, visit=1) for name in names]


def test_no_templates_are_an_error() -> None:
    with pytest.raises(DataError, match="at least one template"):
        choose([], "7", seed=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's the dog's name?", "what's the dog's name?"),
        ('Is this "real" (or not)? ', "is this real or not?"),
        ("A:B;C~D#E*F.G!", "abcdefg"),
        ("", ""),
    ],
)
def test_questions_lose_their_marks_and_their_capitals(text: str, expected: str) -> None:
    assert blip_question(text) == expected


def test_a_long_question_keeps_its_first_fifty_words() -> None:
    words = [f"w{index}" for index in range(60)]
    assert blip_question(" ".join(words)).split() == words[:50]
    assert blip_question(" ".join(words[:50])).split() == words[:50]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("A cat.A dog!", "a cat a dog"), ("  two   dogs\n", "two dogs"), ("Don't, stop-it", "don't, stop-it")],
)
def test_captions_get_spaces_for_their_marks(text: str, expected: str) -> None:
    assert blip_caption(text) == expected
