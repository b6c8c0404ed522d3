from __future__ import annotations

from random import Random

import numpy as np
import pytest

from inlay.recipes.miniature.media.clips import FRAMES, draw_shape, render_clip
from inlay.recipes.miniature.media.specs import DIRECTIONS, DRAWINGS, MOVEMENTS, Drawing, Movement


def _middle(picture: object) -> tuple[float, float]:
    pixels = np.asarray(picture, dtype=float)
    rows, columns = np.nonzero(np.abs(pixels - pixels[0, 0]).sum(-1) > 100)
    return columns.mean(), rows.mean()


def test_one_seed_gives_one_picture_and_one_clip() -> None:
    assert draw_shape(DRAWINGS[0], Random(1)).tobytes() == draw_shape(DRAWINGS[0], Random(1)).tobytes()
    one, two = (render_clip(MOVEMENTS[0], Random(1)) for _ in range(2))
    assert [frame.tobytes() for frame in one.frames] == [frame.tobytes() for frame in two.frames]


def test_jitter_makes_every_picture_another() -> None:
    rng = Random(0)
    assert len({draw_shape(DRAWINGS[0], rng).tobytes() for _ in range(20)}) == 20


def test_large_covers_more_than_small() -> None:
    covered = []
    for size in ("small", "large"):
        pixels = np.asarray(draw_shape(Drawing(size, "blue", "square"), Random(0)), dtype=int)
        covered.append((np.abs(pixels - pixels[0, 0]).sum(-1) > 100).sum())
    assert covered[1] > 2 * covered[0]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_moves_goes_where_it_should(direction: str) -> None:
    clip = render_clip(Movement("black", "circle", direction), Random(3))
    places = [_middle(frame) for frame in clip.frames]
    right, down = places[-1][0] - places[0][0], places[-1][1] - places[0][1]
    far = {"left": -right, "right": right, "up": -down, "down": down}[direction]
    assert 9 < far < 16
    assert min(abs(right), abs(down)) < 0.5


def test_nothing_leaves_the_picture() -> None:
    rng = Random(5)
    for movement in MOVEMENTS:
        for frame in render_clip(movement, rng).frames:
            pixels = np.asarray(frame, dtype=int)
            border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert np.ptp(border, axis=0).max() == 0


def test_frames_and_side_can_be_chosen() -> None:
    clip = render_clip(MOVEMENTS[0], Random(0), side=48, frames=12)
    assert (len(clip.frames), clip.frames[0].size, clip.seconds) == (12, (48, 48), FRAMES / 5)
