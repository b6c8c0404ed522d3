from __future__ import annotations

from random import Random

import pytest

from inlay.recipes.miniature.media.captions import caption_of, prompt_of, prompts_of, read_spec
from inlay.recipes.miniature.media.specs import DRAWINGS, MOVEMENTS, TONES, Movement

EVERYTHING = (*DRAWINGS, *TONES, *MOVEMENTS)


def test_captions_are_told_apart() -> None:
    assert len({caption_of(value) for value in EVERYTHING}) == len(EVERYTHING)


def test_every_wording_is_read_back() -> None:
    for value in EVERYTHING:
        assert {read_spec(text) for text in prompts_of(value)} == {value}


def test_now_and_then_a_size_is_left_open() -> None:
    rng = Random(0)
    read = [read_spec(prompt_of(DRAWINGS[0], rng)) for _ in range(300)]
    assert set(read) == {DRAWINGS[0], None}
    assert 10 < read.count(None) < 80


@pytest.mark.parametrize("text", ["", "a red circle", "a small red or blue circle", "two high beeps", "moving left"])
def test_what_is_not_named_in_full_is_nothing(text: str) -> None:
    assert read_spec(text) is None


def test_vowels_take_an() -> None:
    assert caption_of(Movement("orange", "ring", "up")) == "an orange ring moving up"
