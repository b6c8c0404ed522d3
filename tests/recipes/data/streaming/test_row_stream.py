"""Streams of rows: their order, where a resumed run goes on, invalid rows, and how processes share files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.streaming.row_parts import RowPart, parts_of
from inlay.recipes.data.streaming.row_stream import RowStream


def ids_of(rows: Sequence[Any]) -> Iterator[Any]:
    """Stands in for the conversion of rows: the id of each, or an error for the id ``bad``."""
    for where, row in rows:
        yield DataError(f"{where}: invalid") if row["id"] == "bad" else [row["id"]]


def write(folder: Path, kind: str, files: Sequence[Sequence[str]]) -> tuple[RowPart, ...]:
    for number, ids in enumerate(files):
        file = folder / f"{number}.{kind}"
        if kind == "jsonl":
            file.write_text("".join(json.dumps({"id": name}) + "\n" for name in ids))
        else:
            datasets.Dataset.from_list([{"id": name} for name in ids]).to_parquet(str(file))
    return parts_of(folder / f"{{0..{len(files) - 1}}}.{kind}")


@pytest.fixture(params=["jsonl", "parquet"])
def parts(tmp_path: Path, request: Any) -> tuple[RowPart, ...]:
    return write(tmp_path, request.param, [[f"{file}-{row}" for row in range(5)] for file in range(3)])


def stream(parts: Sequence[RowPart], **options: Any) -> RowStream:
    return RowStream(parts, ids_of, **{"buffer": 4, "seed": 3, "batch_size": 2} | options)


def test_every_pass_has_every_row_once_in_another_order(parts: Any) -> None:
    found: list[Any] = list(islice(stream(parts), 30))
    first, second = found[:15], found[15:]
    assert sorted(first) == sorted(second) == [f"{file}-{row}" for file in range(3) for row in range(5)]
    assert first != second
    assert first != sorted(first)


def test_a_buffer_of_0_keeps_the_order_of_the_files(parts: Any) -> None:
    found: list[Any] = list(islice(stream(parts, buffer=0), 15))
    assert found == sorted(found)


@pytest.mark.parametrize("kept", [True, False])
def test_a_resumed_stream_goes_on_with_the_very_next_row(parts: Any, tmp_path: Path, kept: bool) -> None:
    places = tmp_path / "positions" if kept else None
    whole = list(islice(stream(parts, positions=places), 60))
    for start in range(25):
        again = stream(parts, positions=places, start=start)
        assert list(islice(again, 10)) == whole[2 * start : 2 * start + 10]


def test_a_resumed_stream_does_not_read_the_rows_before_its_block(tmp_path: Path) -> None:
    parts, read = write(tmp_path, "jsonl", [[str(row) for row in range(40)]]), Counter[str]()

    def counted(rows: Sequence[Any]) -> Iterator[Any]:
        read.update(row["id"] for _, row in rows)
        yield from ids_of(rows)

    places = tmp_path / "positions"
    whole = list(islice(RowStream(parts, counted, buffer=4, positions=places), 30))
    read.clear()
    later = RowStream(parts, counted, buffer=4, positions=places, start=26)
    assert list(islice(later, 4)) == whole[26:]
    assert read.total() <= 8


def test_a_line_of_positions_that_was_cut_off_is_ignored(parts: Any, tmp_path: Path) -> None:
    whole = list(islice(stream(parts, positions=tmp_path / "p"), 30))
    (file,) = (tmp_path / "p").iterdir()
    file.write_text(file.read_text()[:-9])
    assert list(islice(stream(parts, positions=tmp_path / "p", start=12), 6)) == whole[24:]


def test_invalid_rows_are_left_out_and_counted_and_the_stream_still_resumes(tmp_path: Path) -> None:
    parts = write(tmp_path, "jsonl", [["1", "bad", "2", "3"], ["bad", "4", "5", "6", "7"]])
    data = stream(parts, broken="skip")
    whole = list(islice(data, 28))
    assert Counter(whole[:7]) == Counter("1234567")
    assert data.skipped == {"row": 8}
    assert list(islice(stream(parts, broken="skip", start=5), 10)) == whole[10:20]


def test_the_first_invalid_row_is_an_error_with_its_place(tmp_path: Path) -> None:
    parts = write(tmp_path, "jsonl", [["1", "bad"]])
    with pytest.raises(DataError, match=r"0\.jsonl, line 2: invalid"):
        list(islice(stream(parts), 3))


def test_a_pass_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    parts = write(tmp_path, "jsonl", [["bad"]])
    with pytest.raises(DataError, match="no usable row in a whole pass"):
        next(iter(stream(parts, broken="skip")))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_rows_even_of_fewer_files(parts: Any, world: int) -> None:
    """In one pass every row is given once, by exactly one of the processes."""
    found: list[Any] = []
    for rank in range(world):
        own = stream(parts)
        own.rank, own.world = rank, world
        count = len(range(rank, 15, world)) if world > 3 else 5 * len(range(rank, 3, world))
        found += islice(own, count)
    assert sorted(found) == [f"{file}-{row}" for file in range(3) for row in range(5)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_loading_workers_resume_too(parts: Any, tmp_path: Path) -> None:
    from torch.utils.data import DataLoader

    def batches(start: int, count: int) -> list[Any]:
        data = stream(parts, positions=tmp_path / "p", start=start)
        return list(islice(DataLoader(data, batch_size=2, num_workers=2, collate_fn=list), count))

    assert batches(7, 6) == batches(0, 13)[7:]
