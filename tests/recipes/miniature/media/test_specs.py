from __future__ import annotations

from random import Random

import pytest

from inlay.recipes.miniature.media.specs import (
    DIRECTIONS,
    DRAWINGS,
    MOVEMENTS,
    PITCHES,
    RHYTHMS,
    TIMBRES,
    TONES,
    Drawing,
    MediumSpec,
    Movement,
    Tone,
    as_clip,
    as_drawing,
    as_sound,
    sample_any,
    sample_kind,
    sample_spec,
)
from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES, SIZES

KINDS = ((DRAWINGS, Drawing), (TONES, Tone), (MOVEMENTS, Movement))


def test_every_combination_is_there_once() -> None:
    assert len(set(DRAWINGS)) == len(SIZES) * len(COLOURS) * len(SHAPES)
    assert len(set(TONES)) == len(RHYTHMS) * len(PITCHES) * len(TIMBRES)
    assert len(set(MOVEMENTS)) == len(COLOURS) * len(SHAPES) * len(DIRECTIONS)


@pytest.mark.parametrize(("values", "kind"), KINDS)
def test_a_part_is_held_out_and_every_attribute_is_learnt(
    values: tuple[MediumSpec, ...], kind: type[MediumSpec]
) -> None:
    held_out = [value for value in values if value.split == "held_out"]
    assert 0.08 < len(held_out) / len(values) < 0.35
    for name in kind.__slots__:
        learnt = {getattr(value, name) for value in values if value.split == "train"}
        assert learnt == {getattr(value, name) for value in values}


def test_what_moves_is_held_out_with_its_drawing() -> None:
    for movement in MOVEMENTS:
        if Drawing("small", movement.colour, movement.shape).split == "held_out":
            assert movement.split == "held_out"


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_samples_are_of_the_split_asked_for(split: str) -> None:
    rng = Random(0)
    assert {sample_kind(kind, rng, split).split for kind in (Drawing, Tone, Movement) for _ in range(50)} == {split}
    assert sample_spec(Tone, Random(0)) == sample_kind(Tone, Random(0))
    assert {type(sample_any(rng, split)) for _ in range(50)} == {Drawing, Tone, Movement}


def test_round_sounds_pure_and_small_sounds_high() -> None:
    assert as_sound(Drawing("small", "red", "ring"), "two slow") == Tone("two slow", "high", "pure")
    assert as_sound(Drawing("large", "red", "star"), "one long") == Tone("one long", "low", "buzzing")
    assert as_sound(Movement("red", "cross", "left"), "two fast") == Tone("two fast", "middle", "bright")
    assert {as_sound(value, "two fast") for value in (*DRAWINGS, *MOVEMENTS)} <= set(TONES)


def test_a_drawing_moves_and_stands_still_again() -> None:
    drawing = Drawing("large", "blue", "star")
    assert as_drawing(as_clip(drawing, "up"), "large") == drawing
