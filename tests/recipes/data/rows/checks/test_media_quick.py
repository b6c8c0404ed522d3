"""A file that is accepted by few bytes is one that Pillow reads; damaged ones are never accepted."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from inlay.recipes.data.rows.checks.media_quick import is_sound_picture
from inlay.recipes.data.rows.media_headers import header_problem


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (64, 48), **options: Any) -> Path:
    Image.effect_noise(size, 80).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "RGBA", "LA", "I;16"])
def test_png_of_all_modes_is_accepted(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (64, 48)).save(tmp_path / "a.png")
    assert is_sound_picture(str(tmp_path / "a.png"))


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"progressive": True}, {"optimize": True}, {"dpi": (72, 72)}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_of_all_kinds_is_accepted(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    assert is_sound_picture(str(picture(tmp_path / "a.jpg", mode, **options)))


def test_chunks_in_front_of_the_pixels_are_skipped_or_left_to_pillow(tmp_path: Path) -> None:
    assert is_sound_picture(str(picture(tmp_path / "a.png", dpi=(72, 72))))
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Title", "a disc")
    path = picture(tmp_path / "b.png", pnginfo=notes)
    assert not is_sound_picture(str(path))
    assert header_problem("image", path) == ""


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_what_is_accepted_is_read_by_pillow_whatever_byte_is_damaged(tmp_path: Path, suffix: str) -> None:
    path, draw = picture(tmp_path / f"a.{suffix}"), random.Random(0)
    data = path.read_bytes()
    accepted = 0
    for _ in range(600):
        changed = bytearray(data)
        changed[draw.randrange(min(700, len(data)))] = draw.randrange(256)
        path.write_bytes(bytes(changed))
        if is_sound_picture(str(path)):
            accepted += 1
            assert header_problem("image", path) == ""
    assert 0 < accepted < 600


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_file_that_is_cut_off_is_not_accepted(tmp_path: Path, suffix: str) -> None:
    path = picture(tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    for size in (0, 1, 10, 33, 60, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        assert not is_sound_picture(str(path))


def test_other_things_are_not_accepted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    names = ["link.png", "gone.png", "."]
    assert [is_sound_picture(str(tmp_path / name)) for name in names] == [False] * 3
    assert not is_sound_picture(str(picture(tmp_path / "a.webp")))
    Image.new("1", (12_000, 9_000)).save(tmp_path / "large.png")
    assert not is_sound_picture(str(tmp_path / "large.png"))
