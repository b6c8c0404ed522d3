"""What is read of a JPEG's segments, and which of them reach the decoder."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hostile_media import jpeg_of_scans
from PIL import Image

from inlay.adapters.media.containers.jpeg import read_jpeg
from inlay.adapters.media.untrusted import MediaError


def jpeg(**options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def test_a_baseline_file_has_one_scan_and_no_stored_coefficients() -> None:
    found = read_jpeg(io.BytesIO(jpeg()), "a.jpg")
    assert (found.size, found.scans, found.progressive, found.coefficient_bytes) == ((60, 40), 1, False, 0.0)


@pytest.mark.parametrize(("subsampling", "samples"), [("4:4:4", 3.0), ("4:2:2", 2.0), ("4:2:0", 1.5)])
def test_a_progressive_file_stores_its_coefficients(subsampling: str, samples: float) -> None:
    found = read_jpeg(io.BytesIO(jpeg(progressive=True, subsampling=subsampling)), "a.jpg")
    assert (found.scans, found.progressive, found.samples) == (10, True, samples)
    assert found.coefficient_bytes == 2 * samples * 60 * 40


def test_every_scan_is_counted() -> None:
    assert read_jpeg(io.BytesIO(jpeg_of_scans(1000, 4000)), "a.jpg").scans == 4000


@pytest.mark.parametrize("progressive", [False, True])
def test_metadata_is_hidden_and_pixels_are_not(progressive: bool) -> None:
    data = jpeg(comment=b"c" * 99, exif=b"Exif\0\0II*\0", icc_profile=b"p" * 100_000, progressive=progressive)
    found = read_jpeg(io.BytesIO(data + b"behind the end"), "a.jpg")
    seen = found.pixels.read()
    assert seen == jpeg(progressive=progressive)
    assert found.exif == b"Exif\0\0II*\0"


def test_markers_may_be_padded_and_follow_junk() -> None:
    plain = jpeg()
    padded = plain[:2] + b"junk\xff\xff\xff" + plain[2:]
    assert read_jpeg(io.BytesIO(padded), "a.jpg").pixels.read() == plain


def test_restart_markers_belong_to_the_scan() -> None:
    data = jpeg(restart_marker_blocks=1)
    found = read_jpeg(io.BytesIO(data), "a.jpg")
    assert (found.scans, found.pixels.read()) == (1, data)


def test_too_many_segments_are_refused() -> None:
    data = b"\xff\xd8" + b"\xff\xfe\0\x02" * (1 << 14) + jpeg()[2:]
    with pytest.raises(MediaError, match=r"a\.jpg: the picture has more than 16,384 segments"):
        read_jpeg(io.BytesIO(data), "a.jpg")
