"""Data of every kind of file and folder become samples whose media are checked, the second time from the cache."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from inlay.adapters.media.image import load_image
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables import reading
from inlay.recipes.settings.run import DataSettings


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("hf")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr(reading, "KEPT_SECONDS", 0.0)


def png(colour: int) -> bytes:
    held = BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(held, "PNG")
    return held.getvalue()


def parquet(folder: Path, second: bytes) -> Path:
    rows = [{"image": {"bytes": data, "path": None}, "question": "what?", "answer": "red"} for data in (png(7), second)]
    text = datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "question": text, "answer": text})
    datasets.Dataset.from_list(rows, features=features).to_parquet(str(folder / "a.parquet"))
    return folder / "a.parquet"


def csv(folder: Path) -> Path:
    for number in (7, 8):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "a.csv").write_text("image,question,answer\n7.png,what?,red\n8.png,what?,red\n")
    return folder / "a.csv"


def image_folder(folder: Path) -> Path:
    csv(folder)
    (folder / "a.csv").unlink()
    rows = [{"file_name": f"{number}.png", "question": "what?", "answer": "red"} for number in (7, 8)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


SOURCES = {"parquet": lambda folder: parquet(folder, png(8)), "csv": csv, "image folder": image_folder}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_questions_and_pictures_come_from_any_source(make: Any, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = make(folder)
    for _ in range(2):
        rows = load_data(DataSettings(train=path))["train"]
        assert [row.messages[1].text for row in rows] == ["red", "red"]
        pictures = [load_image(row.messages[0].content[0].source) for row in rows]
        assert [picture.getpixel((0, 0)) for picture in pictures] == [(7, 0, 0), (8, 0, 0)]


def test_names_of_classes_are_answers_if_a_column_says_so(tmp_path: Path) -> None:
    for number, name in ((7, "red"), (8, "dark red")):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / f"{number}.png").write_bytes(png(number))
    with pytest.raises(DataError):
        load_data(DataSettings(train=tmp_path / "data"))
    rows = load_data(DataSettings(train=tmp_path / "data", columns="text=label"))["train"]
    assert [row.messages[1].text for row in rows] == ["dark red", "red"]


def test_damaged_bytes_in_a_row_are_named_before_training(tmp_path: Path) -> None:
    path = parquet(tmp_path, png(8)[:40])
    for _ in range(2):
        with pytest.raises(DataError, match=r"a\.parquet, row 1"):
            load_data(DataSettings(train=path))
        assert len(load_data(DataSettings(train=path, invalid="skip"))["train"]) == 1
