"""ModaVerse's instructions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.conversation.messages import MadePart, MediaPart, TextPart
from inlay.recipes.data.formats.modaverse import read_modaverse
from inlay.recipes.data.formats.read import read_samples
from inlay.recipes.data.rows.sample import DataError

WriteJson = Callable[[Any], Path]
ROOT = Path("/media")
ITEM: dict[str, Any] = {
    "instruction": "make it rain",
    "media": {"image": "1.png", "audio": "none", "video": "none"},
    "meta_response": {"modality": "audio", "prompt": "heavy rain"},
}


def test_a_meta_response_is_something_made(write_json: WriteJson) -> None:
    (sample,) = read_modaverse(write_json([ITEM]), ROOT)
    assert sample.messages[0].content == (MediaPart("image", ROOT / "1.png"), TextPart("make it rain"))
    assert sample.messages[1].content == (MadePart("audio", "heavy rain"),)


@pytest.mark.parametrize(
    ("modality", "expected"),
    [
        ("text", (TextPart("p"),)),
        ("[IMAGE]", (MadePart("image", "p"),)),
        ("image, audio", (MadePart("image", "p"), MadePart("audio", "p"))),
        (["text", "video"], (TextPart("p"), MadePart("video", "p"))),
    ],
)
def test_modalities(write_json: WriteJson, modality: Any, expected: Any) -> None:
    item = ITEM | {"meta_response": {"modality": modality, "prompt": "p"}}
    (sample,) = read_modaverse(write_json([item]), ROOT)
    assert sample.messages[1].content == expected


def test_the_file_tells_its_format(write_json: WriteJson) -> None:
    item = ITEM | {"media": {}}
    assert read_samples(write_json([item]))[0].messages[1].content == (MadePart("audio", "heavy rain"),)


BAD = [
    ({"instruction": " "}, "instruction: expected some text"),
    ({"media": {"smell": "x"}}, "media: expected an object with image, audio, video"),
    (
        {"media": {"image": 7}},
        "media, image: expected a path, a URL, base64, bytes, or an object with 'bytes' or 'path', got 7",
    ),
    ({"media": {"image": "/etc/passwd"}}, "the absolute path '/etc/passwd' lies outside of"),
    ({"meta_response": None}, "meta_response: expected"),
    ({"meta_response": {"modality": "audio", "prompt": ""}}, "prompt: expected some text"),
    ({"meta_response": {"modality": "smell", "prompt": "p"}}, "modality: expected text, image, audio, video"),
    ({"meta_response": {"prompt": "p"}}, "modality: expected text, image, audio, video, got None"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_items_are_named(write_json: WriteJson, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_modaverse(write_json([ITEM, ITEM | change]), ROOT)
    assert "item 1" in str(error.value)
