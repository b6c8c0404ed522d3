from __future__ import annotations

from random import Random

import pytest

from inlay.recipes.miniature.judges.captions import caption_is_right
from inlay.recipes.miniature.world.descriptions import caption
from inlay.recipes.miniature.world.scenes import sample_scene

REFERENCE = "a small red ring in the center and a large blue star in the top left."


def test_the_wording_and_the_order_of_a_caption_are_free() -> None:
    rng = Random(0)
    for scene in (sample_scene(rng) for _ in range(200)):
        assert caption_is_right(caption(scene, rng), caption(scene, rng))
    assert caption_is_right("there is a large blue star in the top left and a small red ring in the center.", REFERENCE)


@pytest.mark.parametrize(
    "said",
    [
        "a small red ring in the center.",
        "a small red ring in the center and a large green star in the top left.",
        "a small red ring in the center, a large blue star in the top left and a small red cross in the top right.",
        "",
    ],
)
def test_a_missing_a_wrong_and_an_invented_thing_make_a_caption_wrong(said: str) -> None:
    assert not caption_is_right(said, REFERENCE)


def test_a_reference_without_things_must_be_repeated() -> None:
    assert caption_is_right(" hello. ", "hello.")
    assert not caption_is_right("hello", "good bye.")
