"""Pictures and clips beyond the budget are downscaled when that was asked for, up to a hard limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from media_files import Save, halves
from PIL import Image

from inlay.adapters.media import image, video
from inlay.adapters.media.budget import BUDGET
from inlay.adapters.media.errors import MediaError, TooLargeError
from inlay.adapters.media.image import load_image, reduced
from inlay.adapters.media.sources import DownscaledPath, MediaBytes
from inlay.adapters.media.video import load_video

SMALL = replace(BUDGET, pixels=100)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "REDUCED_PIXELS", 50)
    monkeypatch.setattr(image, "LARGE", replace(BUDGET, pixels=40 * 40))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_large_picture_is_downscaled_with_its_aspect_ratio(save_image: Save, name: str) -> None:
    path = save_image(halves(), name)
    with pytest.raises(TooLargeError, match=r"--data\.downscale true"):
        load_image(path, budget=SMALL)
    found = load_image(DownscaledPath(path), budget=SMALL)
    assert found.size == (10, 5)
    assert found.getpixel((0, 0)) != found.getpixel((9, 0))


def test_bytes_are_downscaled_as_files(save_image: Save) -> None:
    data = save_image(halves()).read_bytes()
    assert load_image(MediaBytes(data, downscale=True), budget=SMALL).size == (10, 5)


def test_a_picture_within_the_budget_is_unchanged(save_image: Save) -> None:
    path = save_image(halves())
    assert load_image(DownscaledPath(path)).tobytes() == load_image(path).tobytes()


def test_the_hard_limit_stays(save_image: Save) -> None:
    path = save_image(Image.new("RGB", (50, 50)))
    with pytest.raises(MediaError, match="at most 1,600 pixels"):
        load_image(DownscaledPath(path), budget=SMALL)


def test_a_narrow_picture_keeps_a_pixel_of_each_side() -> None:
    assert reduced(Image.new("RGB", (2000, 1))).size == (316, 1)


def test_a_clip_with_large_frames_is_read_smaller(save_clip: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "LARGE", replace(BUDGET, clip_pixels=4 * 32 * 24))
    path, little = save_clip("a.mp4", 4), replace(BUDGET, frame_pixels=100)
    with pytest.raises(TooLargeError):
        load_video(path, budget=little)
    found = load_video(DownscaledPath(path), budget=little)
    assert found.frames[0].size == (32, 24)
    assert np.asarray(found.frames[0]).shape == (24, 32, 3)


def test_a_path_from_python_is_not_downscaled_unasked(save_image: Save) -> None:
    with pytest.raises(TooLargeError):
        load_image(Path(save_image(halves())), budget=SMALL)
