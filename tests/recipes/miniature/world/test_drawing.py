from __future__ import annotations

from random import Random

import numpy as np
import pytest

from inlay.recipes.miniature.world.drawing import RGB, draw_scene
from inlay.recipes.miniature.world.scenes import COLOURS, SHAPES, Scene, Thing, sample_scene


def test_one_seed_gives_one_picture() -> None:
    scene = sample_scene(Random(0))
    assert draw_scene(scene, Random(1)).tobytes() == draw_scene(scene, Random(1)).tobytes()


@pytest.mark.parametrize("size", [32, 48, 64])
def test_picture_has_the_size_asked_for(size: int) -> None:
    assert draw_scene(sample_scene(Random(0)), Random(1), size).size == (size, size)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ring"])
def test_pixel_at_the_centre_has_the_colour_of_the_object(colour: str, shape: str) -> None:
    for place in range(9):
        scene = Scene((Thing(place, "large", colour, shape),))
        pixel = draw_scene(scene, Random(place)).getpixel((16 * (place % 3) + 8, 16 * (place // 3) + 8))
        assert max(abs(a - b) for a, b in zip(pixel, RGB[colour], strict=True)) <= 20


def test_ring_has_a_hole() -> None:
    picture = draw_scene(Scene((Thing(4, "large", "red", "ring"),)), Random(0))
    assert picture.getpixel((24, 24))[1] > 180


def test_empty_cells_are_plain() -> None:
    picture = np.asarray(draw_scene(Scene((Thing(0, "large", "black", "star"),)), Random(0)))
    assert np.ptp(picture[16:].reshape(-1, 3), axis=0).max() == 0


def test_large_objects_cover_more_than_small_ones() -> None:
    for shape in SHAPES:
        covered = []
        for size in ("small", "large"):
            picture = np.asarray(draw_scene(Scene((Thing(4, size, "blue", shape),)), Random(0)))
            covered.append((picture[..., 0] < 120).sum())
        assert covered[1] > 1.6 * covered[0]
