"""Tables of all kinds: Parquet, CSV, Arrow, folders, compressed JSON, data sets of the Hub."""

from __future__ import annotations

import gzip
import json
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.load import load_data
from inlay.recipes.data.rows.records import read_each
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables import open_table as opening
from inlay.recipes.data.rows.tables.names import hub_name, is_table
from inlay.recipes.data.rows.tables.open_table import open_table
from inlay.recipes.settings.run import DataSettings


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache.parent)
    opening._file_table.cache_clear()
    opening._hub_table.cache_clear()


def png(colour: int) -> bytes:
    held = BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(held, "PNG")
    return held.getvalue()


ROWS: list[dict[str, Any]] = [
    {
        "id": str(number),
        "image": {"bytes": png(number), "path": None},
        "messages": [{"role": "user", "content": "what?"}, {"role": "assistant", "content": f"a disc {number}"}],
        "label": number % 2,
        "extra": None if number else "only here",
    }
    for number in range(5)
]
FOUND = [
    {name: value for name, value in row.items() if value is not None} | {"label": ("cat", "dog")[row["label"]]}
    for row in ROWS
]
MESSAGES = [{name: row[name] for name in ("id", "messages")} for row in ROWS]


@pytest.fixture
def data() -> datasets.Dataset:
    text = datasets.Value("string")
    features = {
        "id": text,
        "image": datasets.Image(),
        "messages": datasets.List({"role": text, "content": text}),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "extra": text,
    }
    return datasets.Dataset.from_list(ROWS, features=datasets.Features(features))


def rows_of(path: Path) -> list[Any]:
    return [value for _, value in open_table(path).stream()]


@pytest.mark.parametrize("kind", ["parquet", "saved", "arrow"])
def test_rows_come_as_the_table_holds_them(data: datasets.Dataset, tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.parquet" if kind == "parquet" else "saved")
    if kind == "parquet":
        data.to_parquet(str(path))
    else:
        data.save_to_disk(str(path))
        path = path if kind == "saved" else next(path.glob("*.arrow"))
    table = open_table(path)
    assert [value for _, value in table.stream()] == FOUND
    assert table.take([3, 0]) == [FOUND[3], FOUND[0]]
    assert table.where(3) == f"{path}, row 3"
    assert table.digest() == open_table(path).digest()
    assert pickle.loads(pickle.dumps(table)).take([4]) == [FOUND[4]]


@pytest.mark.parametrize("kind", ["parquet", "jsonl.gz", "json.gz"])
def test_samples_equal_those_of_json(tmp_path: Path, kind: str) -> None:
    plain, other = tmp_path / "a.jsonl", tmp_path / f"b.{kind}"
    plain.write_text("".join(json.dumps(row) + "\n" for row in MESSAGES))
    if kind == "parquet":
        datasets.Dataset.from_list(MESSAGES).to_parquet(str(other))
    else:
        text = plain.read_text() if kind == "jsonl.gz" else json.dumps(MESSAGES)
        other.write_bytes(gzip.compress(text.encode()))
    for _ in range(2):  # the second time from the cache
        held = [(row.id, row.messages) for row in read_rows(other, None)]
        assert held == [(row.id, row.messages) for row in read_rows(plain, None)]


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_csv_is_read_with_its_separator(tmp_path: Path, suffix: str, separator: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text(
        "\n".join(separator.join(row) for row in (["image", "text"], ["1.png", "a, disc"[:6]], ["2.png", ""]))
    )
    if suffix == "csv":
        path.write_text('image,text\n1.png,"a, dis"\n2.png,\n')
    assert rows_of(path) == [{"image": "1.png", "text": "a, dis"}, {"image": "2.png"}]


def test_a_folder_of_images_has_the_names_of_its_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(1))
    expected = [
        {"image": {"bytes": None, "path": str(tmp_path / name / "1.png")}, "label": name} for name in ("cat", "dog")
    ]
    assert rows_of(tmp_path) == expected


def test_a_folder_of_images_has_the_columns_of_its_metadata(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "text": "a disc"}\n')
    assert rows_of(tmp_path) == [{"image": {"bytes": None, "path": str(tmp_path / "1.png")}, "text": "a disc"}]


def test_a_folder_of_several_splits_names_them(data: datasets.Dataset, tmp_path: Path) -> None:
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(DataError, match="got a folder of several; name one of them: test, train"):
        open_table(tmp_path / "saved")
    assert len(open_table(tmp_path / "saved" / "test")) == 5


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("me/my-dataset", "me/my-dataset"),
        ("me/data_2.0:train[:10%]", "me/data_2.0:train[:10%]"),
        ("data/train.json", None),
        ("data/train.PARQUET", None),
        ("shards/000.tar", None),
        ("shards/{000..127}", None),
        ("train", None),
        ("a/b/c", None),
        ("/me/data", None),
        ("../me", None),
    ],
)
def test_a_name_of_the_hub_is_told_from_a_path(name: str, found: str | None) -> None:
    assert hub_name(Path(name)) == found
    assert is_table(Path(name)) == (found is not None or name.lower().endswith((".json", ".parquet")))


def test_a_folder_that_exists_is_no_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "me" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_name(Path("me/data")) is None


def test_a_data_set_of_the_hub_is_asked_for_its_split(
    data: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local folder stands in for the repository."""
    datasets.Dataset.from_list(MESSAGES).to_parquet(str(tmp_path / "repo" / "test.parquet"))
    asked: list[tuple[str, str]] = []
    load = datasets.load_dataset

    def stand_in(source: str, *, split: str, cache_dir: str | None) -> Any:
        asked.append((source, split))
        files = {"test": str(tmp_path / "repo" / "test.parquet")}
        return load("parquet", data_files=files, split=split, cache_dir=cache_dir)

    monkeypatch.setattr(datasets, "load_dataset", stand_in)
    samples = load_data(DataSettings(train=Path("me/data:test")))["train"]
    assert [sample.id for sample in samples] == ["0", "1", "2", "3", "4"]
    assert samples[2].origin == "me/data:test, row 2"
    assert asked == [("me/data", "test")]
    with pytest.raises(DataError, match=r"me/data: cannot be read: .*train"):
        open_table(Path("me/data"))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("OfflineModeIsEnabled", "Couldn't reach 'me/data'", "the Hub cannot be reached, and the data set is not in"),
        ("DatasetNotFoundError", "doesn't exist", "no such file or folder here, and no such data set on the Hub"),
        (
            "DatasetNotFoundError",
            "Dataset 'me/data' is a gated dataset",
            "gated: accept its terms at https://.*me/data,",
        ),
        ("ValueError", "Unknown split", "cannot be read: 'Unknown split'"),
    ],
)
def test_why_a_data_set_of_the_hub_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, told: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise type(name, (Exception,), {})(text)

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=rf"^me/data:train: .*{told}"):
        open_table(Path("me/data:train"))


def test_a_cache_of_datasets_that_cannot_be_written_costs_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.Dataset.from_list(MESSAGES).to_parquet(str(tmp_path / "a.parquet"))
    load, folders = datasets.load_dataset, list[Any]()

    def refuse(*sources: Any, cache_dir: str | None, **options: Any) -> Any:
        folders.append(cache_dir)
        if cache_dir is None:
            raise PermissionError(13, "Permission denied")
        return load(*sources, cache_dir=cache_dir, **options)

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert rows_of(tmp_path / "a.parquet") == MESSAGES
    assert folders == [None, str(opening._temporary())]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.json.gz"])
def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(DataError, match=rf"{name}: cannot be (read|unpacked)"):
        open_table(tmp_path / name)


def test_a_parquet_file_that_is_damaged_in_the_middle_names_its_rows(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": f"a disc {number} " * 9} for number in range(90)]
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=30)
    column = parquet.read_metadata(path).row_group(1).column(1)
    held = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset
    held[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(held)
    with pytest.raises(DataError, match=r"row group 1 \(rows 30 to 59\) is damaged: .*; copy or download it again"):
        open_table(path)


def test_files_of_a_data_set_in_the_cache_of_the_hub_are_read_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid out as ``hf download --repo-type dataset`` does."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repo, commit = tmp_path / "datasets--me--data", "0" * 40
    for folder in ("refs", "blobs", f"snapshots/{commit}"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    datasets.Dataset.from_list(MESSAGES).to_parquet(str(repo / "blobs" / "one"))
    (repo / "snapshots" / commit / "test-00000-of-00001.parquet").symlink_to("../../blobs/one")
    load = datasets.load_dataset

    def unreachable(source: str, **options: Any) -> Any:
        if source == "me/data":
            raise ConnectionError("Couldn't reach 'me/data' on the Hub")
        return load(source, **options)

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert rows_of(Path("me/data:test")) == MESSAGES
    opening._hub_table.cache_clear()
    (repo / "blobs" / "two.incomplete").touch()
    with pytest.raises(DataError, match=r"the Hub cannot be reached"):
        open_table(Path("me/data:test"))


def test_the_check_of_a_parquet_file_is_kept_and_seen_to_be_old(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "a.parquet"
    for count in (5, 3):
        datasets.Dataset.from_list(MESSAGES[:count]).to_parquet(str(path))
        for _ in range(2):
            assert len(read_rows(path, None)) == count
            assert len([entry for entry in cache.iterdir() if (entry / "facts.json").exists()]) == 1


def test_facts_of_rows_that_have_no_state_are_not_kept(data: datasets.Dataset, cache: Path) -> None:
    from inlay.recipes.data.rows.offenders import Offenders
    from inlay.recipes.data.rows.records import described
    from inlay.recipes.data.rows.tables.arrow_table import ArrowTable
    from inlay.recipes.data.rows.tables.reading import read_table

    table = ArrowTable(data.cast_column("image", datasets.Image(decode=False)), "in memory", None)
    samples = read_table(
        table, lambda row, where: described(row["id"], None, "", row["messages"][1]["content"], where), Offenders()
    )
    assert samples[4].messages[1].text == "a disc 4"
    assert not cache.exists()


def test_readers_take_tables_of_any_kind(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"id": "a", "text": "b"}]).to_parquet(str(tmp_path / "a.parquet"))
    from inlay.recipes.data.rows.records import described

    (sample,) = read_each(
        tmp_path / "a.parquet", lambda row, where: described(row["id"], "x.png", "", row["text"], where)
    )
    assert (sample.id, sample.messages[1].text) == ("a", "b")
