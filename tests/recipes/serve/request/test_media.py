"""Media of requests: allowed sources, and the limits of a request."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from senses_models import write_wav
from serve_client import data_url, png

from inlay.recipes.data.rows import remote
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.media import MediaAccess, MediaReader
from inlay.recipes.serve.request.schema import AudioData


def reader(access: MediaAccess | None = None, **limits: Any) -> MediaReader:
    return MediaReader(access or MediaAccess(), Limits(**limits))


def refused(made: MediaReader, value: Any, modality: Any = "image") -> ApiError:
    with pytest.raises(ApiError) as raised:
        made.read(modality, value, "messages[0].content[0]")
    assert str(raised.value).startswith("messages[0].content[0]")
    return raised.value


def bomb() -> bytes:
    """A small PNG that claims 20,000 x 20,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_data_uri_becomes_the_picture(image_of: Any) -> None:
    picture = image_of(1)
    assert reader().read("image", data_url(png(picture)), "m").tobytes() == picture.tobytes()


def test_a_file_below_the_folder_is_read_by_path_and_by_uri(tmp_path: Path, image_of: Any) -> None:
    (tmp_path / "sub").mkdir()
    image_of(1).save(tmp_path / "sub" / "1.png")
    made = reader(MediaAccess(tmp_path))
    for value in ("sub/1.png", f"file://{tmp_path}/sub/1.png"):
        assert made.read("image", value, "m").tobytes() == image_of(1).tobytes()


@pytest.mark.parametrize(
    "value", ["../secret.png", "/etc/passwd", "file:///etc/passwd", "file://host/a.png", "link.png"]
)
def test_a_file_outside_of_the_folder_is_refused(tmp_path: Path, image_of: Any, value: str) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    image_of(1).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    error = refused(reader(MediaAccess(folder)), value)
    assert error.status == 400
    assert "the folder the media folder" not in str(error)
    assert str(tmp_path) not in str(error)


def test_a_missing_file_does_not_show_the_folder(tmp_path: Path) -> None:
    assert str(tmp_path) not in str(refused(reader(MediaAccess(tmp_path)), "none.png"))


def test_files_are_refused_without_a_folder() -> None:
    assert refused(reader(), "a.png").code == "files_not_allowed"


def test_urls_are_refused_unless_they_are_allowed() -> None:
    assert refused(reader(), "https://example.org/a.png").code == "urls_not_allowed"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "127.0.0.1", "[::1]", "10.0.0.1", "2852039166", "[::ffff:a9fe:a9fe]"]
)
def test_private_addresses_are_never_fetched(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    def connected(*_: Any) -> Any:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(remote, "_connected", connected)
    error = refused(reader(MediaAccess(urls=True)), f"http://{host}/latest/meta-data")
    assert "not public" in str(error)


def test_an_allowed_url_is_fetched_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, image_of: Any) -> None:
    monkeypatch.setattr(remote, "_fetched", lambda url, name: png(image_of(2)))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = reader(MediaAccess(urls=True)).read("image", "https://example.org/a.png", "m")
    assert made.tobytes() == image_of(2).tobytes()
    assert list(tmp_path.iterdir()) == []


def test_an_image_bomb_is_refused_by_its_claim() -> None:
    error = refused(reader(), data_url(bomb()))
    assert "20000 x 20000 pixels" in str(error)
    assert "--data" not in str(error)


def test_the_pixels_of_all_pictures_of_a_request_count(image_of: Any) -> None:
    made = reader(pixels=20 * 14 + 1)
    made.read("image", data_url(png(image_of(1))), "m")
    assert "pixels are too many" in str(refused(made, data_url(png(image_of(2)))))


def test_a_request_has_so_many_media(image_of: Any) -> None:
    made = reader(parts=1)
    made.read("image", data_url(png(image_of(1))), "m")
    assert refused(made, data_url(png(image_of(2)))).status == 413


def test_the_bytes_of_all_media_of_a_request_count(image_of: Any) -> None:
    data = png(image_of(1))
    made = reader(request_bytes=len(data) + 1)
    made.read("image", data_url(data), "m")
    assert refused(made, data_url(data)).status == 413


def test_a_sound_is_read_from_base64_and_bounded_in_seconds(tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    write_wav(tmp_path / "a.wav", 220.0)
    sound = AudioData(data=base64.b64encode((tmp_path / "a.wav").read_bytes()).decode(), format="wav")
    read = reader().read("audio", sound, "m")
    assert read.rate > 0
    made = MediaReader(MediaAccess(), Limits(seconds=1))
    long = tmp_path / "b.wav"
    import wave

    with wave.open(str(long), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 16_001)
    error = refused(made, AudioData(data=base64.b64encode(long.read_bytes()).decode(), format="wav"), "audio")
    assert "too long" in str(error)


def test_a_clip_is_read_from_a_data_uri(image_of: Any, tmp_path: Path) -> None:
    frames = [image_of(n, (16, 16)) for n in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    pytest.importorskip("av")
    clip = reader().read("video", data_url((tmp_path / "a.gif").read_bytes(), "image/gif"), "m")
    assert len(clip.frames) == 3


@pytest.mark.parametrize("value", ["data:image/png;base64,???", "data:image/png,abc", data_url(b"<svg/>"), ""])
def test_what_is_no_picture_is_refused(value: str) -> None:
    assert refused(reader(MediaAccess(Path("/nowhere"))), value).status == 400


def test_pictures_in_memory_stay_pictures() -> None:
    assert isinstance(reader().read("image", data_url(png(Image.new("L", (3, 3)))), "m"), Image.Image)
