"""Clips of every kind, which frames are kept, and files made to do harm."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_files import CLIPS, Save, seen
from PIL import Image

from inlay.adapters.media import video as video_module
from inlay.adapters.media.budget import Budget
from inlay.adapters.media.image import MediaError
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.video import Video, load_video, spans


def mp4_of_corner(path: Path) -> Path:
    """One frame of 64 x 48, red in a corner and green along an edge: no two orientations look alike."""
    picture = np.zeros((48, 64, 3), dtype=np.uint8)
    picture[:16, :16], picture[32:, :] = (255, 0, 0), (0, 255, 0)
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", list(CLIPS))
def test_every_frame_of_a_short_clip_is_kept(save_clip: Save, name: str) -> None:
    video = load_video(save_clip(name))
    assert seen(video) == list(range(12))
    assert video.fps == pytest.approx(10, abs=0.01)
    assert {(frame.mode, frame.size) for frame in video.frames} == {("RGB", (64, 48))}
    assert video.frames[3].getpixel((50, 8))[0] < 10


def test_frames_that_are_not_shrunk_are_those_of_the_decoder(save_clip: Save) -> None:
    path = save_clip()
    with av.open(str(path)) as container:
        expected = [frame.to_image().tobytes() for frame in container.decode(video=0)]
    assert [frame.tobytes() for frame in load_video(path).frames] == expected


def test_gif_is_a_clip(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), (60 * index, 0, 0)) for index in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    video = load_video(tmp_path / "a.gif")
    assert [frame.getpixel((3, 3))[0] for frame in video.frames] == [0, 60, 120, 180]
    assert video.fps == pytest.approx(10)


@pytest.mark.parametrize("where", [0.3, 0.6, 0.99])
def test_a_gif_that_was_cut_off_is_refused(tmp_path: Path, where: float) -> None:
    # FFmpeg plays the frames that are there and says nothing.
    drawn = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)
    frames = [Image.fromarray(frame) for frame in drawn]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    whole = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(whole[: int(len(whole) * where)])
    with pytest.raises(MediaError, match=r"a\.gif: the clip is cut off: its end is missing"):
        load_video(tmp_path / "a.gif")
    (tmp_path / "a.gif").write_bytes(whole + b"behind the end")
    assert len(load_video(tmp_path / "a.gif").frames) == 6
    (tmp_path / "a.gif").write_bytes(whole[:-1] + b"?")
    with pytest.raises(MediaError, match="damaged"):
        load_video(tmp_path / "a.gif")
    (tmp_path / "a.gif").write_bytes(whole[:-1] + bytes(1 << 22))
    with pytest.raises(MediaError, match="more than 4,194,304 blocks"):
        load_video(tmp_path / "a.gif")


def test_the_format_is_chosen_by_content_not_by_name(save_clip: Save) -> None:
    path = save_clip("a.webm")
    assert len(load_video(path.rename(path.with_suffix(".mp4"))).frames) == 12


@pytest.mark.parametrize(
    ("kept", "expected"), [(4, [1, 4, 7, 10]), (1, [6]), (6, [1, 3, 5, 7, 9, 11]), (99, [*range(12)])]
)
def test_frames_in_the_middle_of_equal_spans_are_kept(save_clip: Save, kept: int, expected: list[int]) -> None:
    video = load_video(save_clip(), budget=Budget(frames=kept))
    assert seen(video) == expected
    assert video.seconds == pytest.approx(1.2, abs=0.01)


def test_frames_of_an_uneven_pace_are_taken_by_time(save_clip: Save) -> None:
    # The first frame stands for a second and a half, then four follow quickly.
    video = load_video(save_clip("a.webm", 5, times=[0, 15, 16, 17, 18]))
    assert seen(video)[:3] == [0, 0, 0]
    assert seen(video)[-1] >= 3
    assert video.seconds == pytest.approx(1.9, abs=0.1)


def test_spans_hold_for_any_stamps() -> None:
    assert spans([5], 6, 3) == [0, 0, 0]
    assert spans([0, 10, 11, 12], 13, 4) == [0, 0, 0, 2]
    assert spans([100, 200], 300, 4) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1),
        (-1, 0, 0, 1),
        (-1, 0, 0, -1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, 1, -1, 0),
        (0, -1, -1, 0),
        (0, -1, 1, 0),
    ],
)
def test_each_of_the_eight_orientations_is_set_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = mp4_of_corner(tmp_path / "a.mp4")
    stored = np.asarray(load_video(path).frames[0]).astype(int)
    data = bytearray(path.read_bytes())
    # The matrix of the track's header (ISO 14496-12, 8.3.2): a b u c d v x y w.
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 24] = struct.pack(">6i", a, b, 0, c, d, 0)
    path.write_bytes(data)
    # Each stored pixel (p, q) appears at (a p + c q, b p + d q), shifted into the picture.
    rows, columns = np.mgrid[: stored.shape[0], : stored.shape[1]]
    across, down = matrix[0] * columns + matrix[2] * rows, matrix[1] * columns + matrix[3] * rows
    expected = np.zeros((np.ptp(down) + 1, np.ptp(across) + 1, 3), dtype=int)
    expected[down - down.min(), across - across.min()] = stored
    assert np.array_equal(np.asarray(load_video(path).frames[0]), expected)


def test_a_matrix_that_is_no_quarter_turn_is_ignored(tmp_path: Path) -> None:
    path = mp4_of_corner(tmp_path / "a.mp4")
    stored = load_video(path).frames[0]
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 24] = struct.pack(">6i", 1 << 15, 1 << 15, 0, -(1 << 15), 1 << 15, 0)
    path.write_bytes(data)
    assert load_video(path).frames[0].tobytes() == stored.tobytes()


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "b.mp4"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.2, 0.5])
def test_a_truncated_file_is_an_error_that_names_it(save_clip: Save, name: str, kept: float) -> None:
    path = save_clip(name, 60)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(MediaError, match=name):
        load_video(path)


def test_a_file_whose_index_comes_first_and_whose_pictures_are_cut_off_is_an_error(
    save_clip: Save, tmp_path: Path
) -> None:
    with (
        av.open(str(save_clip(count=60))) as whole,
        av.open(str(tmp_path / "fast.mp4"), "w", format="mp4", options={"movflags": "faststart"}) as output,
    ):
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    path = tmp_path / "fast.mp4"
    assert len(load_video(path).frames) == 60
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    with pytest.raises(MediaError, match=r"fast\.mp4"):
        load_video(path)


def test_arrays_with_alpha_and_of_floating_point_are_clips() -> None:
    clear = np.zeros((2, 4, 5, 4), dtype=np.uint8)
    assert load_video((clear, 1.0)).frames[1].getpixel((0, 0)) == (255, 255, 255)
    assert load_video((np.full((2, 4, 5, 3), 0.2), 1.0)).frames[0].getpixel((0, 0)) == (51, 51, 51)


def test_a_clip_with_a_longer_sound_is_whole(tmp_path: Path) -> None:
    for name, codec, sound in (("a.mp4", "libx264", "aac"), ("a.webm", "libvpx-vp9", "libopus")):
        with av.open(str(tmp_path / name), "w", format=name[2:]) as output:
            stream, voice = output.add_stream(codec, rate=10), output.add_stream(sound, rate=48_000)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for _ in range(5):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
            output.mux(stream.encode())
            for index in range(300):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48_000, index * 960
                output.mux(voice.encode(frame))
            output.mux(voice.encode())
        assert len(load_video(tmp_path / name).frames) == 5


@pytest.mark.parametrize(
    "data",
    [
        b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/a.ts\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"RIFF\x24\0\0\0AVI LIST",
        b"\x89PNG\r\n\x1a\n",
        b"FLV\x01\x05\0\0\0\x09",
        b"<?xml version='1.0'?><MPD/>",
        b"\0\0\0",
    ],
)
def test_lists_and_other_formats_named_mp4_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(MediaError, match=r"a\.mp4: expected an MP4, WebM or GIF file"):
        load_video(tmp_path / "a.mp4")


def test_a_container_cannot_open_another_file() -> None:
    with pytest.raises(MediaError, match="only the clip itself is read"):
        video_module._nothing_else("file:/etc/passwd", 1, {})


def test_a_codec_that_is_not_on_the_list_is_refused(save_clip: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_clip()
    monkeypatch.setattr(video_module, "_CODECS", frozenset({"vp9"}))
    with pytest.raises(MediaError, match="expected one of the codecs vp9, got 'h264'"):
        load_video(path)


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with pytest.raises(MediaError, match="has no pictures"):
        load_video(tmp_path / "a.mp4")


def test_a_clip_in_memory_is_checked_and_kept() -> None:
    pictures = [Image.new("L", (4, 3), value) for value in (0, 255)]
    video = load_video((pictures, 2))
    assert ([frame.mode for frame in video.frames], video.fps, video.seconds) == (["RGB", "RGB"], 2.0, 1.0)
    pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    assert np.array_equal(np.asarray(load_video((pixels, 5.0)).frames[1]), pixels[1])
    assert load_video(video).frames[0].tobytes() == video.frames[0].tobytes()
    assert isinstance(load_medium("video", video), Video)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (([], 1.0), "has no frames"),
        (([Image.new("RGB", (2, 2)), Image.new("RGB", (3, 2))], 1.0), r"one size, got \[\(2, 2\), \(3, 2\)\]"),
        (([Image.new("RGB", (2, 2))], 0), "positive number, got 0"),
        (([Image.new("RGB", (2, 2))], float("nan")), "positive number, got nan"),
        ((np.zeros((2, 2, 3), dtype=np.uint8), 1.0), r"of shape \[2, 2, 3\]"),
        ((np.zeros((2, 2, 2, 3), dtype=np.int32), 1.0), "got int32"),
        ((np.full((1, 2, 2, 3), 2.0), 1.0), "frame 0 in memory: expected floating point values from 0 to 1"),
        (b"ftyp", "the medium in memory: expected an MP4"),
        (np.zeros(3), "got ndarray"),
    ],
)
def test_something_that_is_no_clip_is_refused(source: Any, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        load_video(source)


def test_urls_pipes_and_paths_that_leave_the_root_are_refused(save_clip: Save, tmp_path: Path) -> None:
    root = tmp_path / "clips"
    root.mkdir()
    secret = save_clip()
    (root / "link.mp4").symlink_to(secret)
    os.mkfifo(root / "pipe.mp4")
    for source, said in [
        ("rtsp://host/a", "nothing is fetched from a network"),
        ("concat:/etc/passwd|/etc/group", "nothing is fetched|no such file"),
        ("../a.mp4", "lies outside of the folder"),
        ("link.mp4", "lies outside of the folder"),
        ("pipe.mp4", "expected a file"),
        ("gone.mp4", r"gone\.mp4: no such file"),
    ]:
        with pytest.raises(MediaError, match=said):
            load_video(source, root=root)


def test_what_is_missing_is_named(save_clip: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_clip()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MediaError, match=r"pip install 'inlay\[video\]'"):
        load_video(path)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "b.mp4"])
def test_damaged_bytes_give_a_clip_or_the_one_error(save_clip: Save, name: str, seed: int) -> None:
    path = save_clip(name)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(12, len(data), 10):
        data[place] = rng.integers(0, 256)
    path.write_bytes(data)
    with contextlib.suppress(MediaError), contextlib.redirect_stderr(io.StringIO()):
        video = load_video(path)
        assert len({frame.size for frame in video.frames}) == 1


def test_only_the_picked_frames_are_kept_and_they_keep_their_size(save_clip: Save) -> None:
    asked: list[tuple[int, float]] = []

    def picks(count: int, fps: float) -> list[int]:
        asked.append((count, fps))
        return [11, 0, 5, 11]

    budget = Budget(clip_pixels=3 * 64 * 48, frames=3)
    video = load_video(save_clip(), budget=budget, picks=picks)
    ((count, fps),) = asked
    assert (count, video.kept, video.count) == (12, (0, 5, 11), 12)
    assert (fps, video.seconds) == pytest.approx((10, 1.2), abs=0.01)
    assert seen(video) == [0, 5, 11]
    assert {frame.size for frame in video.frames} == {(64, 48)}
    assert video.frame(5) is video.frames[1]
    with pytest.raises(MediaError, match="frame 4 of 12 was not kept; kept are 0, 5, 11"):
        video.frame(4)


def test_picks_beyond_the_budget_are_not_kept(save_clip: Save) -> None:
    video = load_video(save_clip(), budget=Budget(frames=4), picks=lambda count, _: list(range(count)))
    assert (len(video.frames), video.kept, video.count) == (4, None, 4)
