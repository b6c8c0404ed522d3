"""Files written for one test."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_files import CLIPS, Save, grey
from PIL import Image


@pytest.fixture
def save_image(tmp_path: Path) -> Save:
    def write(image: Image.Image, name: str = "picture.png", **options: Any) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.fixture
def save_clip(tmp_path: Path) -> Save:
    """Frame ``n`` is grey(n) on the left and black on the right; ``times`` in tenths of a second."""

    def write(
        name: str = "a.mp4",
        count: int = 12,
        *,
        size: tuple[int, int] = (64, 48),
        times: list[int] | None = None,
    ) -> Path:
        codec, container, pixels = CLIPS[name]
        with av.open(str(tmp_path / name), "w", format=container) as output:
            stream = output.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            stream.bit_rate = 4_000_000
            stream.codec_context.time_base = stream.time_base = Fraction(1, 10)
            for index in range(count):
                picture = np.zeros((size[1], size[0], 3), dtype=np.uint8)
                picture[:, : size[0] // 2] = grey(index)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = (times or range(count))[index], Fraction(1, 10)
                output.mux(stream.encode(frame))
            output.mux(stream.encode())
        return tmp_path / name

    return write
