"""The parts of a streamed data set: files, folders, data sets of the Hub, and media that stay encoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.streaming.row_parts import parts_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    held = io.BytesIO()
    Image.new("RGB", (2, 2)).save(held, "PNG")
    features = datasets.Features(
        {"id": datasets.Value("string"), "image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    for number in range(2):
        rows = [
            {"id": f"{number}-{row}", "image": {"bytes": held.getvalue(), "path": None}, "label": row}
            for row in range(2)
        ]
        datasets.Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / f"{number}.parquet"))
    return tmp_path


def test_the_files_of_a_folder_are_its_parts(folder: Path) -> None:
    (folder / "README.md").write_text("# data")
    assert [Path(part.name).name for part in parts_of(folder)] == ["0.parquet", "1.parquet"]


def test_media_stay_encoded_and_labels_have_names(folder: Path) -> None:
    (where, row), (_, second) = parts_of(folder)[1].stream()
    assert where == f"{folder / '1.parquet'}, row 0"
    assert isinstance(row, dict)
    assert isinstance(second, dict)
    assert row["image"]["bytes"].startswith(b"\x89PNG")
    assert (row["id"], row["label"], second["label"]) == ("1-0", "cat", "dog")


def test_a_state_leads_to_the_next_row(folder: Path) -> None:
    part = parts_of(folder)[0]
    rows = part.stream()
    next(rows)
    state = part.state()
    rows.close()
    ((where, row),) = parts_of(folder)[0].stream(state)
    assert where.endswith("row 1")
    assert row["id"] == "0-1"


def test_the_files_of_a_data_set_of_the_hub_are_its_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local folder stands in for the repository."""
    load = datasets.load_dataset

    def stand_in(source: str, *, split: str, streaming: bool, **options: Any) -> Any:
        if source == "parquet":
            return load(source, split=split, streaming=streaming, **options)
        assert (source, split, streaming) == ("me/data", "test", True)
        files = {"test": [str(folder / f"{number}.parquet") for number in range(2)]}
        return load("parquet", data_files=files, split=split, streaming=True)

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    parts = parts_of(Path("me/data:test"))
    found = [(where, row["id"]) for part in parts for where, row in part.stream() if isinstance(row, dict)]
    assert [name for _, name in found] == ["0-0", "0-1", "1-0", "1-1"]
    assert found[2][0] == "me/data:test, file 1, row 0"


def test_a_data_set_of_the_hub_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'me/data' doesn't exist")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match="no such data set on the Hub"):
        parts_of(Path("me/data"))


@pytest.mark.parametrize(("name", "told"), [("a.jsonl", "no such file"), ("a.txt", "no such file")])
def test_a_missing_file_is_an_error(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parts_of(tmp_path / name)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected files that end in"):
        parts_of(tmp_path)


def test_a_csv_file_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("query,label\nTwo and two?,four\n")
    assert [row for _, row in parts_of(path)[0].stream()] == [{"query": "Two and two?", "label": "four"}]
