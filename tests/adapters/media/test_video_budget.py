"""Clips that claim or need too much."""

from __future__ import annotations

import gc
from pathlib import Path

import av
import pytest
from hostile_media import gif_of_frames, mp4_with_compressed_header, mp4_without_motion
from media_files import Save, seen

from inlay.adapters.media import video as video_module
from inlay.adapters.media.budget import Budget
from inlay.adapters.media.image import MediaError
from inlay.adapters.media.video import load_video


def patched(path: Path, kind: bytes, place: int, values: tuple[int, ...]) -> Path:
    """Big-endian numbers behind a box's name."""
    data = bytearray(path.read_bytes())
    start = data.index(kind) + 4 + place
    data[start : start + 4 * len(values)] = b"".join(value.to_bytes(4, "big") for value in values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("kind", "place", "values"),
    [(b"stsz", 4, (1, 178_000_000)), (b"stts", 8, (4_000_000_000,)), (b"ctts", 8, (4_000_000_000,))],
)
def test_tables_that_claim_billions_are_refused_before_room_is_made(
    save_clip: Save, kind: bytes, place: int, values: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = patched(save_clip(), kind, place, values)
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(MediaError, match=r"a\.mp4: its tables state [\d,]+ samples, at most 4,194,304 are read"):
        load_video(path)


def test_a_compressed_header_is_read(save_clip: Save) -> None:
    path = save_clip()
    expected = load_video(path)
    path.write_bytes(mp4_with_compressed_header(path.read_bytes()))
    video = load_video(path)
    assert [frame.tobytes() for frame in video.frames] == [frame.tobytes() for frame in expected.frames]


def test_a_compressed_header_that_claims_millions_is_refused_before_room_is_made(
    save_clip: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_clip()
    path.write_bytes(mp4_with_compressed_header(path.read_bytes(), samples=60_000_000))
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(MediaError, match="its tables state 60,000,000 samples"):
        load_video(path)


def test_a_canvas_that_is_too_large_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.gif").write_bytes(gif_of_frames(9400, 1500))
    monkeypatch.setattr(av, "open", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(MediaError, match="got 9400 x 9400"):
        load_video(tmp_path / "a.gif")


def test_frames_that_are_decoded_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.gif").write_bytes(gif_of_frames(3000, 1500))
    monkeypatch.setattr(video_module, "_decoded", lambda *_: pytest.fail("decoded"))
    with pytest.raises(MediaError, match=r"1,500 frames of 3000 x 3000 make 13,500,000,000 pixels to decode"):
        load_video(tmp_path / "a.gif")


def test_pixels_to_decode_grow_with_the_compressed_frames(save_clip: Save) -> None:
    path = save_clip(count=60)
    work = 60 * 64 * 48
    compressed = path.stat().st_size
    assert len(load_video(path, budget=Budget(work=0, work_per_byte=work)).frames) == 60
    with pytest.raises(MediaError, match="60 frames of 64 x 48"):
        load_video(path, budget=Budget(work=0, work_per_byte=work // compressed // 2))


def test_fragments_are_counted_too(save_clip: Save, tmp_path: Path) -> None:
    with (
        av.open(str(save_clip())) as whole,
        av.open(str(tmp_path / "f.mp4"), "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as output,
    ):
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    assert len(load_video(tmp_path / "f.mp4").frames) == 12
    with pytest.raises(MediaError, match="its tables state"):
        load_video(patched(tmp_path / "f.mp4", b"trun", 4, (3_000_000_000,)))


def test_a_long_clip_and_a_large_one_are_refused_before_a_picture_is_decoded(
    save_clip: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_clip(count=30)
    monkeypatch.setattr(video_module, "_decoded", lambda *_: pytest.fail("decoded"))
    with pytest.raises(MediaError, match=r"3\.0 s are too long: at most 2 s"):
        load_video(path, budget=Budget(seconds=2))
    with pytest.raises(MediaError, match="got 64 x 48"):
        load_video(path, budget=Budget(frame_pixels=64 * 48 - 1))


def test_large_frames_are_shrunk_to_the_budget(save_clip: Save) -> None:
    path = save_clip(size=(128, 64))
    video = load_video(path, budget=Budget(clip_pixels=12 * 32 * 16))
    assert {frame.size for frame in video.frames} == {(32, 16)}
    assert seen(video) == list(range(12))


def test_decoded_frames_are_let_go(tmp_path: Path) -> None:
    """A frame and its side data refer to each other: only the garbage collector would free them."""
    path = mp4_without_motion(tmp_path / "a.mp4", (256, 128), 60)
    gc.collect()
    gc.disable()
    try:
        video = load_video(path)
        kept = sum(type(thing).__name__ == "VideoFrame" for thing in gc.get_objects())
    finally:
        gc.enable()
    assert (len(video.frames), kept <= 2) == (60, True)
