from __future__ import annotations

from random import Random

import pytest

from inlay.recipes.miniature.media.captions import caption_of, read_spec
from inlay.recipes.miniature.media.dialogues import Turn, announce, change, description, dialogue, request
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES, Drawing, MediumSpec, Movement, Tone

EVERYTHING = (*DRAWINGS, *TONES, *MOVEMENTS)


@pytest.fixture(scope="module")
def talks() -> list[list[Turn]]:
    rng = Random(0)
    return [dialogue(rng, "train") for _ in range(400)]


def test_what_is_asked_for_is_what_is_made_and_said() -> None:
    rng = Random(1)
    for value in EVERYTHING:
        turn = request(value, rng)
        assert read_spec(turn.asked) == read_spec(turn.said) == turn.generated == value


def test_what_is_shown_is_described() -> None:
    for value in EVERYTHING:
        turn = description(value, Random(0))
        assert (turn.shown, turn.generated, turn.said) == (value, None, f"{caption_of(value)}.")


@pytest.mark.parametrize(("value", "verb"), [(TONES[0], "is"), (TONES[-1], "are"), (DRAWINGS[0], "is")])
def test_the_verb_agrees(value: MediumSpec, verb: str) -> None:
    assert announce(value).split()[1] == verb


def test_a_change_changes_one_thing_or_the_modality() -> None:
    rng = Random(2)
    for value in EVERYTHING:
        turn = change(value, rng, "held_out")
        made = turn.generated
        assert made is not None
        assert made != value
        if type(made) is type(value):
            names = type(value).__slots__
            assert sum(getattr(made, name) != getattr(value, name) for name in names) == 1


def test_modalities_change_in_every_direction_that_there_is() -> None:
    rng = Random(3)
    seen = {(type(value), type(change(value, rng, "held_out").generated)) for value in EVERYTHING for _ in range(4)}
    assert seen == {
        *((kind, kind) for kind in (Drawing, Tone, Movement)),
        (Drawing, Movement),
        (Drawing, Tone),
        (Movement, Drawing),
        (Movement, Tone),
    }


def test_nothing_held_out_is_in_training(talks: list[list[Turn]]) -> None:
    values = [value for turns in talks for turn in turns for value in (turn.generated, turn.shown) if value is not None]
    assert {value.split for value in values} == {"train"}


def test_a_held_out_dialogue_begins_with_something_held_out() -> None:
    rng = Random(4)
    for _ in range(100):
        first = dialogue(rng, "held_out")[0]
        begun = first.shown or first.generated
        assert begun is not None
        assert begun.split == "held_out"


def test_dialogues_have_two_to_four_turns_of_all_kinds(talks: list[list[Turn]]) -> None:
    assert {len(turns) for turns in talks} == {2, 3, 4}
    made = [type(turn.generated) for turns in talks for turn in turns]
    assert set(made) == {Drawing, Tone, Movement, type(None)}
    assert min(made.count(kind) for kind in set(made)) > 100


def test_media_are_shown_at_the_beginning_only(talks: list[list[Turn]]) -> None:
    assert all(turn.shown is None for turns in talks for turn in turns[1:])
