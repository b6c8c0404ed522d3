from __future__ import annotations

from random import Random

import pytest
from PIL import Image

from inlay.recipes.miniature.judges.generated_media import REQUIRED, judge_generated, score_attributes
from inlay.recipes.miniature.media.clips import draw_shape, render_clip
from inlay.recipes.miniature.media.sounds import render_sound
from inlay.recipes.miniature.media.specs import Drawing, Movement, Tone


def test_what_is_wrong_in_one_attribute_is_not_right() -> None:
    rng = Random(8)
    red, tone, left = Drawing("small", "red", "star"), Tone("two slow", "low", "pure"), Movement("red", "star", "left")
    assert score_attributes(red, draw_shape(Drawing("small", "blue", "star"), rng))["right"] is False
    assert score_attributes(tone, render_sound(Tone("two slow", "high", "pure"), rng))["right"] is False
    assert score_attributes(left, render_clip(Movement("red", "star", "right"), rng))["right"] is False
    # The size is not required.
    assert score_attributes(red, draw_shape(Drawing("large", "red", "star"), rng)) == {
        "shape": True,
        "colour": True,
        "size": False,
        "right": True,
    }
    assert set(REQUIRED) == {Drawing, Tone, Movement}


def test_a_medium_of_another_kind_than_the_caption_is_wrong_in_every_attribute() -> None:
    picture = draw_shape(Drawing("small", "red", "star"), Random(0))
    assert judge_generated("two slow high pure beeps", picture) == {
        "pitch": False,
        "rhythm": False,
        "timbre": False,
        "right": False,
    }


@pytest.mark.parametrize("caption", ["a story", "a red star", ""])
def test_a_caption_that_names_no_medium_completely_is_not_judged(caption: str) -> None:
    assert judge_generated(caption, Image.new("RGB", (32, 32))) is None
