"""A digest follows the content of a medium, not its name; only regular files are read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.untrusted import MediaError


def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"anything")
    assert media_digest("image", tmp_path / "a.png") == hashlib.sha256(b"anything").digest()
    assert media_digest("audio", str(tmp_path / "a.png")) == hashlib.sha256(b"anything").digest()


def test_an_array_has_the_digest_of_its_picture() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert media_digest("image", pixels) == media_digest("image", Image.fromarray(pixels))


def test_sounds_of_another_rate_and_clips_of_another_pace_differ() -> None:
    samples, frames = np.zeros(8, np.float32), [Image.new("RGB", (2, 2))] * 2
    assert media_digest("audio", (samples, 8_000)) != media_digest("audio", (samples, 16_000))
    assert media_digest("video", (frames, 1.0)) != media_digest("video", (frames, 2.0))


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(MediaError, match="expected a file"):
        media_digest("image", tmp_path / "a.png")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="POSIX")
def test_a_device_without_an_end_is_refused() -> None:
    with pytest.raises(MediaError, match="expected a file"):
        media_digest("image", "/dev/zero")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        media_digest("video", tmp_path / "gone.mp4")
