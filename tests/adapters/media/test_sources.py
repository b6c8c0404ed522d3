"""Bytes, base64 and data URIs: they decode, and are identified, as the same file on disk."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from media_files import Save, halves

from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.image import load_image
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.sources import DownscaledPath, MediaBytes, data_uri, from_base64


def test_bytes_of_a_picture_decode_as_the_file(save_image: Save) -> None:
    path = save_image(halves())
    expected = load_image(path).tobytes()
    assert load_image(path.read_bytes()).tobytes() == expected
    assert load_image(MediaBytes(path.read_bytes())).tobytes() == expected


def test_bytes_of_a_sound_decode_as_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 800), 16_000)
    found = load_medium("audio", MediaBytes((tmp_path / "a.wav").read_bytes()))
    assert np.array_equal(found.samples, load_medium("audio", tmp_path / "a.wav").samples)


def test_bytes_of_a_clip_decode_as_the_file(save_clip: Save) -> None:
    path = save_clip("a.mp4", 4)
    found = load_medium("video", MediaBytes(path.read_bytes()))
    expected = load_medium("video", path)
    assert [frame.tobytes() for frame in found.frames] == [frame.tobytes() for frame in expected.frames]


def test_the_digest_is_that_of_the_file(save_image: Save) -> None:
    path = save_image(halves())
    held = MediaBytes(path.read_bytes(), "row 3")
    assert media_digest("image", held) == media_digest("image", path)
    assert str(held) == f"sha256:{media_digest('image', path).hex()}"


def test_equal_bytes_are_equal_whatever_their_names() -> None:
    assert {MediaBytes(b"a", "row 1"), MediaBytes(b"a", "row 2")} == {MediaBytes(b"a")}


def test_an_error_names_the_medium() -> None:
    with pytest.raises(MediaError, match=r"train\.jsonl, line 3, image: expected a JPEG"):
        load_image(MediaBytes(b"GIT", "train.jsonl, line 3, image"))


@pytest.mark.parametrize("text", ["data:image/png;base64,{}", "DATA:;base64,{}", "data:image/png;name=a.png;base64,{}"])
def test_a_data_uri_holds_the_bytes(text: str) -> None:
    found = data_uri(text.format(base64.b64encode(b"abc?>").decode()), "a")
    assert found is not None
    assert found.data == b"abc?>"


@pytest.mark.parametrize("text", ["a.png", "https://host/a.png", "", "database/1.png"])
def test_other_texts_are_no_data_uri(text: str) -> None:
    assert data_uri(text, "a") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data:image/png,abc", "with ;base64"),
        ("data:image/png", "expected data:TYPE;base64"),
        ("data:image/png;base64,a!b", "expected base64"),
        ("data:image/png;base64,", "empty text"),
    ],
)
def test_a_broken_data_uri_is_an_error(text: str, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        data_uri(text, "a")


def test_base64_may_be_url_safe_unpadded_and_broken_into_lines() -> None:
    data = bytes(range(256))
    text = base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert from_base64("\n".join(text[start : start + 76] for start in range(0, len(text), 76)), "a").data == data


def test_a_downscaled_path_is_a_path_and_travels_to_other_processes(tmp_path: Path) -> None:
    path = DownscaledPath(tmp_path / "a.png")
    again = pickle.loads(pickle.dumps(path))
    assert path == tmp_path / "a.png" == again
    assert isinstance(again, Path)
    assert again.downscale
