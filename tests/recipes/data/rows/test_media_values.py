"""Values of a row that name or hold a medium: what each becomes, and what is refused."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inlay.adapters.media.image import load_image
from inlay.adapters.media.sources import DownscaledPath, MediaBytes
from inlay.recipes.data import DataError, image_path, read_samples
from inlay.recipes.data.rows.media_values import MediaRules, medium
from inlay.recipes.data.rows.remote import RemoteMedium

WHERE = "a.jsonl, line 3, image"
FILE = "file://"


def png() -> bytes:
    held = BytesIO()
    Image.new("RGB", (2, 1), "red").save(held, "PNG")
    return held.getvalue()


TEXT = base64.b64encode(png()).decode()


@pytest.mark.parametrize(
    "value",
    [
        png(),
        bytearray(png()),
        TEXT,
        f"data:image/png;base64,{TEXT}",
        {"bytes": png(), "path": "1.png"},
        {"bytes": TEXT, "path": None},
        {"base64": TEXT},
        {"data": TEXT, "format": "png"},
        {"url": f"data:image/png;base64,{TEXT}"},
    ],
    ids=["bytes", "bytearray", "base64", "data URI", "struct", "struct in JSON", "base64 field", "data", "url"],
)
def test_an_encoded_file_becomes_its_bytes_in_any_form(value: Any) -> None:
    found = medium(value, "image", None, WHERE)
    assert found == MediaBytes(png())
    assert (found.name, load_image(found).size) == (WHERE, (2, 1))


@pytest.mark.parametrize(
    "value",
    [
        "sub/1.png",
        "/images/sub/1.png",
        FILE + "/images/sub/1.png",
        "file://localhost/images/sub/1.png",
        Path("/images/sub/1.png"),
        {"bytes": None, "path": "sub/1.png"},
        {"url": FILE + "/images/sub/1.png"},
    ],
)
def test_a_path_below_the_folder_becomes_that_path(value: Any) -> None:
    assert medium(value, "image", Path("/images"), WHERE) == Path("/images/sub/1.png")


def test_a_file_uri_may_be_quoted() -> None:
    assert image_path(FILE + "/images/a%20b.png", Path("/images"), WHERE) == Path("/images/a b.png")


def test_an_absolute_path_below_a_folder_that_is_a_link_is_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert image_path(f"{tmp_path}/real/1.png", tmp_path / "link", WHERE) == tmp_path / "real" / "1.png"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("/etc/passwd", "the absolute path '/etc/passwd' lies outside of the folder /images; name a folder"),
        ("/images/../etc/passwd", "has '..'"),
        ("/images2/1.png", "lies outside of the folder"),
        (FILE + "/etc/passwd", "lies outside of the folder"),
        ("file://host/images/1.png", "expected a file URI without a host"),
        ("../1.png", "leaves the folder"),
        ("C:\\1.png", "expected a path relative to"),
        ("", "expected a path below"),
        ("ftp://host/1.png", "nothing is fetched"),
        ("https://host/1.png", "--data.allow_urls true"),
        ({}, "expected an object with bytes, path"),
        ({"bytes": None, "path": None}, "expected an object with bytes, path"),
        ({"bytes": 7}, "bytes: expected bytes or base64, got 7"),
        ({"path": 7}, "path: expected text, got 7"),
        ({"bytes": b""}, "the medium has no bytes"),
        (b"", "the medium has no bytes"),
        (7, "expected a path, a URL, base64, bytes, or an object with 'bytes' or 'path', got 7"),
        ("data:image/png,abc", "with ;base64"),
    ],
)
def test_any_other_value_is_refused_by_its_place(value: Any, said: str) -> None:
    with pytest.raises(DataError) as error:
        medium(value, "image", Path("/images"), WHERE)
    assert str(error.value).startswith(WHERE)
    assert said in str(error.value)


def test_links_allow_absolute_paths_outside_of_the_folder() -> None:
    rules = MediaRules(Path("/images"), links=True)
    assert medium("/data/1.png", "image", rules, WHERE) == Path("/data/1.png")
    assert medium("/data/1.png", "image", MediaRules(links=True), WHERE) == Path("/data/1.png")


def test_allowed_urls_become_remote_media(tmp_path: Path) -> None:
    found = medium("https://host/1.png", "image", MediaRules(urls=tmp_path), WHERE)
    assert isinstance(found, RemoteMedium)
    assert str(found) == "https://host/1.png"


def test_a_rule_to_downscale_reaches_files_and_bytes() -> None:
    rules = MediaRules(Path("/images"), downscale=True)
    assert isinstance(medium("1.png", "image", rules, WHERE), DownscaledPath)
    assert medium(png(), "image", rules, WHERE).downscale


def test_objects_in_memory_are_kept() -> None:
    picture = Image.new("RGB", (2, 1))
    assert medium(picture, "image", None, WHERE) is picture
    samples, rate = medium({"array": np.zeros(8), "sampling_rate": 8000, "path": None}, "audio", None, WHERE)
    assert (len(samples), rate) == (8, 8000)


def test_a_long_name_of_a_file_is_no_base64() -> None:
    name = "iVBORw0KGg" + "a" * 80 + ".png"
    assert medium(name, "image", Path("/images"), WHERE) == Path("/images") / name


def test_rows_without_a_folder_may_hold_their_media(tmp_path: Path) -> None:
    row = {"image": f"data:image/png;base64,{TEXT}", "text": "a disc"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    [sample] = read_samples(tmp_path / "a.jsonl")
    assert sample.messages[0].content[0].source == MediaBytes(png())
    (tmp_path / "a.jsonl").write_text(json.dumps(row | {"image": "data:image/png;base64,AAAA"}) + "\n")
    with pytest.raises(DataError, match=r"line 1.*expected a JPEG"):
        read_samples(tmp_path / "a.jsonl")
