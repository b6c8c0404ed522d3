"""Every medium is looked at before training: first bytes, headers, ends; once each, with progress."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.media.sources import MediaBytes
from inlay.recipes.data.rows.checks import media_check
from inlay.recipes.data.rows.checks.media_check import MediaCheck, check_media
from inlay.recipes.data.rows.media_headers import header_problem
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described
from inlay.recipes.data.rows.sample import DataError, Sample


def picture(path: Path, **options: Any) -> Path:
    Image.effect_noise((64, 64), 80).convert("RGB").save(path, **options)
    return path


def sound(path: Path, samples: int = 800) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * samples))
    return path


def with_medium(path: Path, kind: Any = "image", number: int = 0) -> Sample:
    asked, said = Message("user", (MediaPart(kind, path),)), Message("assistant", (TextPart("a disc"),))
    return Sample(str(number), (asked, said), f"train.json, item {number}")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_whole_picture_passes_whatever_its_name(tmp_path: Path, kind: str) -> None:
    assert header_problem("image", picture(tmp_path / "a.dat", format=kind)) == ""


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_a_picture_that_was_cut_off_is_found(tmp_path: Path, kind: str) -> None:
    path = picture(tmp_path / "a.dat", format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in header_problem("image", path) or "cut off" in header_problem("image", path)


def test_a_file_of_an_unknown_format_named_jpg_is_found(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", format="ppm")
    assert "TIFF, AVIF or HEIC file, got one that starts with b'P6" in header_problem("image", path)


@pytest.mark.parametrize("kind", ["gif", "bmp", "tiff", "avif"])
def test_a_less_common_format_is_read_or_found_to_be_cut_off(tmp_path: Path, kind: str) -> None:
    path = picture(tmp_path / "a.jpg", format=kind)
    assert header_problem("image", path) == ""
    path.write_bytes(path.read_bytes()[:-20])
    assert header_problem("image", path)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_bytes_are_checked_as_a_file(tmp_path: Path, kind: str) -> None:
    data = picture(tmp_path / "a", format=kind).read_bytes()
    assert header_problem("image", MediaBytes(data)) == ""
    assert header_problem("image", MediaBytes(data[: len(data) // 2], "row 3"))
    assert "expected a JPEG" in header_problem("image", MediaBytes(b"no picture", "row 3"))


def test_a_row_with_bad_bytes_is_left_out_by_its_name(tmp_path: Path) -> None:
    good = picture(tmp_path / "1.png").read_bytes()
    rows = [
        described(str(n), MediaBytes(data, f"row {n}, image"), "", "a", f"row {n}")
        for n, data in enumerate([good, b"x"])
    ]
    offenders = Offenders(collect=True)
    kept = MediaCheck(tmp_path).usable(rows, offenders)
    assert [row.id for row in kept] == ["0"]
    assert offenders.found[0].reason.startswith("row 1: expected a JPEG")


def test_a_gif_as_a_picture_is_said_once(tmp_path: Path) -> None:
    path = picture(tmp_path / "1.gif", format="gif")
    offenders = Offenders(collect=True)
    MediaCheck(tmp_path).usable([described(str(n), path, "", "a", f"row {n}") for n in range(3)], offenders)
    assert offenders.lines() == ["3 row(s) have a GIF as their picture: its first frame is read (first: row 0)"]


def test_a_damaged_header_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100 + b"IEND")
    assert header_problem("image", path).startswith("the header is damaged")


def test_a_picture_of_too_many_pixels_is_found(tmp_path: Path) -> None:
    Image.new("1", (12_000, 9_000)).save(tmp_path / "a.png")
    assert "12000 x 9000 pixels are too many" in header_problem("image", tmp_path / "a.png")


def test_a_jpeg_with_data_behind_its_end_passes(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes() + b"trailer" * 20_000)
    assert header_problem("image", path) == ""


def test_sounds_are_told_by_their_first_bytes_and_their_length(tmp_path: Path) -> None:
    assert header_problem("audio", sound(tmp_path / "a.wav")) == ""
    assert header_problem("audio", sound(tmp_path / "b.wav", 0)) == "the sound has no samples"
    assert "expected a WAV, FLAC, Ogg or MP3 file" in header_problem("audio", picture(tmp_path / "c.wav", format="png"))


def test_clips_are_told_by_their_first_bytes_and_their_header(tmp_path: Path) -> None:
    assert header_problem("video", picture(tmp_path / "a.gif")) == ""
    assert "expected an MP4, WebM or GIF file" in header_problem("video", picture(tmp_path / "b.mp4", format="png"))
    (tmp_path / "c.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"x" * 64)
    assert header_problem("video", tmp_path / "c.mp4").startswith("the header is damaged")


def test_rows_with_bad_media_are_left_out_by_name(tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "1.png"), picture(tmp_path / "2.jpg", format="ppm")
    offenders = Offenders(collect=True)
    rows = [with_medium(path, number=number) for number, path in enumerate((good, bad, good, bad))]
    kept = MediaCheck(tmp_path).usable(rows, offenders)
    assert [row.id for row in kept] == ["0", "2"]
    assert [item.where for item in offenders.found] == ["train.json, item 1", "train.json, item 3"]


def test_a_file_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def look(modality: Any, path: Path) -> str:
        asked.append(path)
        return ""

    monkeypatch.setattr(media_check, "header_problem", look)
    check, path = MediaCheck(tmp_path), picture(tmp_path / "1.webp")
    for _ in range(2):
        check.usable([with_medium(path, number=number) for number in range(3)], Offenders())
    assert asked == [path]


def test_progress_of_a_large_set_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_check, "_SECONDS", -1.0)
    monkeypatch.setattr(media_check, "_BATCH", 2)
    lines: list[str] = []
    rows = [with_medium(picture(tmp_path / f"{number}.png"), number=number) for number in range(3)]
    MediaCheck(tmp_path, show=lines.append).usable(rows, Offenders())
    assert [line.partition(" media")[0] for line in lines] == ["checked 2", "checked 3"]


def test_embeddings_of_what_is_made_are_looked_for(tmp_path: Path) -> None:
    made = Message("assistant", (MadePart("audio", "rain", None, tmp_path / "7.npy"),))
    row = Sample("7", (Message("user", (TextPart("play rain"),)), made), "t2m.json, item 0")
    with pytest.raises(DataError, match=r"t2m\.json, item 0: .*7\.npy: no such file"):
        check_media([row], tmp_path)
    (tmp_path / "7.npy").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"expected an \.npy file"):
        check_media([row], tmp_path)


def test_progress_is_told_only_when_further_files_were_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_check, "_SECONDS", -1.0)
    part = MediaPart("image", picture(tmp_path / "a.png"))
    message, answer = Message("user", (part, TextPart("a"))), Message("assistant", (TextPart("b"),))
    lines: list[Any] = []
    check = MediaCheck(tmp_path, show=lines.append)
    for number in range(3):
        check.problems([Sample(str(number), (message, answer), f"row {number}")])
    assert lines == [f"checked 1 media files in {tmp_path}"]
