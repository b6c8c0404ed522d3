from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inlay.recipes.miniature.datasets.media import build_media
from inlay.recipes.miniature.judges.signal_analysis import read_picture, read_sound
from inlay.recipes.miniature.media.captions import read_spec
from inlay.recipes.miniature.media.specs import Drawing, Tone

SIZES = {
    "media": 12,
    "instructions": 10,
    "dialogues": 30,
    "test_media": 12,
    "test_instructions": 6,
    "test_dialogues": 10,
}
FILES = {"pairs": 36, "questions": 36, "t2m": 30, "mosit": 30, "modaverse": 30}
TEST = {"pairs_test": 36, "questions_test": 36, "t2m_test": 18, "mosit_test": 10, "modaverse_test": 18}
MODALITIES = ("image", "audio", "video")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    build_media(folder, 5, **SIZES)
    return folder


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((data / f"{name}.json").read_text(encoding="utf-8"))
    return items


def _named(item: dict[str, Any]) -> list[str]:
    """The media files that an item names."""
    files = [item[f"{modality}_name"] for modality in MODALITIES if f"{modality}_name" in item]
    for modality in MODALITIES:
        given = item.get(f"input_{modality}", [])
        files += [given] if isinstance(given, str) else given
    return files + [file for file in item.get("media", {}).values() if file != "none"]


@pytest.mark.parametrize(("name", "number"), (FILES | TEST).items())
def test_every_file_has_its_items(data: Path, name: str, number: int) -> None:
    items = _read(data, name)
    assert len({item["id"] for item in items}) == len(items) == number


def test_every_medium_is_named_and_there(data: Path) -> None:
    named = {file for name in FILES | TEST for item in _read(data, name) for file in _named(item)}
    assert named == {path.name for path in (data / "media").iterdir()}
    assert {Path(file).suffix for file in named} == {".png", ".wav", ".gif"}


def test_training_knows_nothing_held_out(data: Path) -> None:
    for name in FILES:
        for item in _read(data, name):
            texts = [item.get("caption"), item.get("description"), item.get("meta_response", {}).get("prompt")]
            texts += [turn.get("caption") for turn in item.get("conversations", ())]
            values = [read_spec(text) for text in texts if text]
            assert {value.split for value in values if value is not None} <= {"train"}
            assert all(file.startswith("train_") for file in _named(item))


def test_captions_are_what_the_media_show(data: Path) -> None:
    for item in _read(data, "pairs_test"):
        value = read_spec(item["caption"])
        assert value is not None
        assert value.split == "held_out"
        if isinstance(value, Drawing):
            with Image.open(data / "media" / item["image_name"]) as picture:
                read = read_picture(picture)
            assert read is not None
            assert (read.size, read.colour, read.shape) == (value.size, value.colour, value.shape)
        elif isinstance(value, Tone):
            heard = _heard(data / "media" / item["audio_name"])
            assert heard is not None
            assert (heard.rhythm, heard.pitch, heard.timbre) == (value.rhythm, value.pitch, value.timbre)


def _heard(path: Path) -> Any:
    import wave

    from inlay.adapters.media.audio import Sound

    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        return read_sound(Sound(samples.astype(np.float32), file.getframerate()))


def test_questions_carry_one_marker_and_their_kinds(data: Path) -> None:
    for name in ("questions", "questions_test"):
        for item in _read(data, name):
            (modality,) = (modality for modality in MODALITIES if f"input_{modality}" in item)
            asked = [turn["value"] for turn in item["conversations"][::2]]
            assert [text.count(f"<{modality}>") for text in asked] == [1] + [0] * (len(asked) - 1)
            assert len(item["types"]) == len(asked)
    for item in _read(data, "questions_test"):
        assert len(item["types"]) == 1
        assert len(item["answers"]) == 10
        assert item["answers"].count(item["conversations"][1]["value"]) >= 6


def test_held_out_questions_are_of_every_kind(data: Path) -> None:
    kinds = {kind for item in _read(data, "questions_test") for kind in item["types"]}
    assert kinds >= {"pitch", "timbre", "count", "colour", "shape", "direction", "size", "yesno"}


def test_replies_name_their_modality_and_caption(data: Path) -> None:
    for name in ("t2m", "t2m_test", "mosit", "mosit_test"):
        for item in _read(data, name):
            replies = item["conversations"][1::2]
            assert item["types"] == [reply["output_modality"] for reply in replies]
            assert all(bool(reply["caption"]) is (reply["output_modality"] != "text") for reply in replies)
            assert all(reply["caption"] in reply["value"] for reply in replies)


def test_meta_responses_name_a_modality_and_a_prompt(data: Path) -> None:
    seen = set()
    for item in _read(data, "modaverse") + _read(data, "modaverse_test"):
        assert set(item["media"]) == set(MODALITIES)
        assert item["meta_response"]["prompt"]
        seen.add(item["meta_response"]["modality"])
    assert seen == {"text", *MODALITIES}


def test_same_seed_writes_the_same_bytes(data: Path, tmp_path: Path) -> None:
    build_media(tmp_path, 5, **SIZES)
    for file in sorted(path for path in data.rglob("*") if path.is_file()):
        assert (tmp_path / file.relative_to(data)).read_bytes() == file.read_bytes()


def test_another_seed_writes_others(data: Path, tmp_path: Path) -> None:
    build_media(tmp_path, Random(0).randint(100, 200), **SIZES)
    assert (tmp_path / "mosit.json").read_bytes() != (data / "mosit.json").read_bytes()
