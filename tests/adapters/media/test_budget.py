"""Each limit of the budget, and hostile files measured: memory and CPU of one read, in a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_media import (
    exif_that_shares_bytes,
    gif_of_frames,
    jpeg_of_scans,
    mp4_with_compressed_header,
    mp4_without_motion,
    ogg_of_silence,
    png,
    png_chunk,
)

from inlay.adapters.media.budget import BUDGET, Budget
from inlay.adapters.media.untrusted import MediaError

MEMORY = 200
"""MB over the process before the read."""
SECONDS = 10
"""CPU, not clock; several times what is needed, a small part of what the same files took without a budget."""

MEASURE = """
import json, sys, time
import av, numpy, soundfile
from inlay.adapters.media.geometry import fit
from inlay.adapters.media.load import load_medium
from inlay.hub.errors import InlayError

def now(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1000

modality, path = sys.argv[1:]
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
before, start = now("VmRSS"), time.process_time()
try:
    medium = load_medium(modality, path)
    if modality == "image":
        for geometry in ("pad", "squash", "crop"):
            fit(medium, 336, geometry, (1, 2, 3))
    found = "read"
except InlayError as error:
    found = str(error)
print(json.dumps([found, now("VmHWM") - before, time.process_time() - start]))
"""


def build(name: str, path: Path) -> Path:
    match name:
        case "scans.jpg":
            path.write_bytes(jpeg_of_scans(9400, 4000))
        case "scans_within_the_limit.jpg":
            path.write_bytes(jpeg_of_scans(9400, 12))
        case "exif.jpg":
            path.write_bytes(exif_that_shares_bytes())
        case "huge_rgba.png":
            path.write_bytes(png(9400, 9400, 6))
        case "rgba.png":
            path.write_bytes(png(4900, 4900, 6))
        case "turned.png":
            exif = png_chunk(b"eXIf", b"MM\0*" + bytes([0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]))
            path.write_bytes(png(4900, 4900, 6, ancillary=exif))
        case "strip.png":
            path.write_bytes(png(1, 65_535))
        case "frames.gif":
            path.write_bytes(gif_of_frames(9400, 1500))
        case "silence.ogg":
            ogg_of_silence(path, 1799)
        case "cmov.mp4":
            plain = mp4_without_motion(path, (64, 48), 30).read_bytes()
            path.write_bytes(mp4_with_compressed_header(plain, samples=60_000_000))
        case "still.mp4":
            mp4_without_motion(path, (1280, 720), 300)
    return path


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("scans.jpg", "4,000 scans of 9400 x 9400"),
        ("scans_within_the_limit.jpg", "read"),
        ("exif.jpg", "read"),
        ("huge_rgba.png", "would take 707 MB"),
        ("rgba.png", "read"),
        ("turned.png", "read"),
        ("strip.png", "read"),
        ("frames.gif", "got 9400 x 9400"),
        ("silence.ogg", "are too long"),
        ("cmov.mp4", "state 60,000,000 samples"),
        ("still.mp4", "read"),
    ],
)
def test_a_small_file_costs_little(tmp_path: Path, name: str, found: str) -> None:
    path = build(name, tmp_path / name)
    assert path.stat().st_size < 1_000_000
    modality = {"jpg": "image", "png": "image", "ogg": "audio"}.get(name[-3:], "video")
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, modality, str(path)], capture_output=True, text=True, check=True
    )
    said, memory, seconds = json.loads(run.stdout.splitlines()[-1])
    assert found in said
    assert (memory < MEMORY, seconds < SECONDS) == (True, True), (memory, seconds)


def test_the_size_of_a_file_is_bounded() -> None:
    file = io.BytesIO(b"12345")
    file.seek(2)
    assert (BUDGET.check_file(file, "a"), file.tell()) == (5, 2)
    with pytest.raises(MediaError, match="a: the file has 5 bytes, at most 4 are read"):
        Budget(file_bytes=4).check_file(file, "a")
    with pytest.raises(MediaError, match="a: the file is empty"):
        BUDGET.check_file(io.BytesIO(), "a")


@pytest.mark.parametrize(
    ("size", "said"), [((11, 10), "at most 100 pixels"), ((1, 60), "at most"), ((0, 5), "least one")]
)
def test_the_size_of_a_picture_is_bounded(size: tuple[int, int], said: str) -> None:
    budget = Budget(pixels=100, side=50)
    budget.check_picture((10, 10), "a")
    with pytest.raises(MediaError, match=said):
        budget.check_picture(size, "a")


def test_memory_is_bounded() -> None:
    Budget(memory=10**6).check_memory(10**6, "a")
    with pytest.raises(MediaError, match=r"a: reading this file would take 2 MB of memory, at most 1 MB are used"):
        Budget(memory=10**6).check_memory(2 * 10**6, "a")


def test_work_is_bounded_and_grows_with_compressed_bytes() -> None:
    budget = Budget(work=100, work_per_byte=2)
    budget.check_work(120, "3 frames", "a", compressed=10)
    with pytest.raises(MediaError, match="a: 3 frames make 121 pixels to decode, at most 120 are decoded"):
        budget.check_work(121, "3 frames", "a", compressed=10)


def test_seconds_are_bounded() -> None:
    Budget(seconds=2).check_seconds(2, "a", "clip")
    with pytest.raises(MediaError, match=r"a: 3\.0 s are too long: at most 2 s; cut the clip"):
        Budget(seconds=2).check_seconds(3, "a", "clip")
