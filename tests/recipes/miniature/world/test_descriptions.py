from __future__ import annotations

from collections import Counter
from random import Random

from inlay.recipes.miniature.world.descriptions import caption, describe, instruction, read_caption
from inlay.recipes.miniature.world.scenes import Scene


def _phrases(scene: Scene) -> set[str]:
    return {f"{thing.phrase} in the {thing.place_name}" for thing in scene.things}


def test_caption_read_back_gives_the_scene(scenes: list[Scene]) -> None:
    rng = Random(0)
    for scene in scenes:
        assert read_caption(caption(scene, rng)) == _phrases(scene)


def test_description_in_any_style_read_back_gives_the_scene(scenes: list[Scene]) -> None:
    rng = Random(0)
    for scene in scenes:
        assert read_caption(describe(scene, rng)) == _phrases(scene)


def test_digit_read_back() -> None:
    assert read_caption("the handwritten digit 7.") == {"digit 7"}


def test_description_names_every_attribute_as_often_as_it_occurs(scenes: list[Scene]) -> None:
    rng = Random(0)
    for scene in scenes:
        words = Counter(describe(scene, rng).replace(",", " ").replace(".", " ").split())
        wanted = Counter(word for thing in scene.things for word in thing.phrase.split())
        assert {word: words[word] for word in wanted} == wanted


def test_instructions_are_answered(scenes: list[Scene]) -> None:
    rng = Random(0)
    for scene in scenes:
        text, reply = instruction(scene, rng)
        assert text
        assert any(thing.colour in reply or thing.shape in reply for thing in scene.things)
