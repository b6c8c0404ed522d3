from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay.recipes.miniature.datasets.pictures import TURNS, build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    build(folder, 5, scenes=60, test_scenes=42, digits=10, test_digits=8)
    return folder


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads((data / f"{name}.json").read_text(encoding="utf-8"))
    return items


@pytest.mark.parametrize(("name", "number"), [("align", 70), ("train", 70), ("align_test", 50), ("test", 50)])
def test_every_picture_has_its_item(data: Path, name: str, number: int) -> None:
    assert len({item["id"] for item in _read(data, name)}) == number


@pytest.mark.parametrize("name", ["align", "train", "align_test", "test"])
def test_items_are_llava_json(data: Path, name: str) -> None:
    for item in _read(data, name):
        turns = item["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert [turn["value"].count("<image>") for turn in turns] == [1] + [0] * (len(turns) - 1)
        assert len(item["types"]) == len(turns) // 2 <= TURNS
        assert item["description"]


def test_pictures_open_at_varied_sizes_and_formats(data: Path) -> None:
    sizes, formats = set(), set()
    for item in _read(data, "train") + _read(data, "test"):
        with Image.open(data / "images" / item["image"]) as image:
            image.load()
            sizes.add(image.size)
            formats.add(image.format)
    assert sizes <= {(side, side) for side in range(32, 65)}
    assert len(sizes) > 3
    assert formats == {"PNG", "JPEG", "WEBP"}


def test_test_items_ask_one_question_with_ten_answers(data: Path) -> None:
    for item in _read(data, "test"):
        assert len(item["types"]) == 1
        assert len(item["answers"]) == 10
        assert item["answers"].count(item["conversations"][1]["value"]) >= 6


def test_yes_and_no_are_exactly_as_frequent(data: Path) -> None:
    asked = [item["conversations"][1]["value"] for item in _read(data, "test") if item["types"] == ["yesno"]]
    assert asked.count("yes") == asked.count("no") == 3


def test_same_seed_writes_the_same_bytes(data: Path, tmp_path: Path) -> None:
    build(tmp_path, 5, scenes=60, test_scenes=42, digits=10, test_digits=8)
    for file in sorted(path for path in data.rglob("*") if path.is_file()):
        assert (tmp_path / file.relative_to(data)).read_bytes() == file.read_bytes()
