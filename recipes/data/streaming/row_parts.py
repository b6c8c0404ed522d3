"""The parts of a streamed data set: local files, or the files of a data set of the Hub, none of which is read whole.

Parquet, CSV, Arrow and data sets of the Hub are read by ``datasets`` in streaming mode, so that nothing is written to
disk; its states lead back to a row without reading the rows before it. JSON is read line by line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.hub.remote.reachable import cache_if_unreachable
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables.arrow_table import row_of
from inlay.recipes.data.rows.tables.base import Row
from inlay.recipes.data.rows.tables.names import ARROW, SUFFIXES, hub_name
from inlay.recipes.data.rows.tables.open_table import datasets_library, hub_data, open_table, reading
from inlay.recipes.data.streaming.braces import expand_braces

__all__ = ["RowPart", "parts_of"]


@dataclass
class RowPart:
    """One file of rows, read from its beginning or from a state."""

    name: str
    """The file or the data set, for errors."""
    number: int = 0
    """The number of the file in a data set of the Hub."""
    split: str = ""
    """The split of a data set of the Hub; empty for a local file."""
    count: int = 0
    """The number of rows that have been read."""
    _data: Any = None

    def state(self) -> dict[str, Any]:
        """The position behind the last row, as plain values."""
        found: dict[str, Any] = {"count": self.count}
        return found if self._data is None else found | {"data": self._data.state_dict()}

    def stream(self, state: dict[str, Any] | None = None) -> Iterator[Row]:
        """The rows from a state on.

        Raises:
            DataError: the file cannot be read.
        """
        self.count = 0
        if not self.split and not self.name.lower().endswith(ARROW):
            for where, row in open_table(Path(self.name)).stream():
                self.count += 1
                if state is None or self.count > state["count"]:
                    yield where, row
            return
        with reading(self.name):
            self._data = self._opened()
            if state is not None:
                self.count = state["count"]
                self._data.load_state_dict(state["data"])
            features = self._data.features or {}
            rows = self._data.iter(batch_size=1)  # its plain iterator would distribute the files once more in a worker
        labels = {field: kind for field, kind in features.items() if hasattr(kind, "int2str")}
        try:
            while True:
                with reading(self.name):
                    columns = next(rows, None)
                if columns is None:
                    return
                self.count += 1
                yield (
                    f"{self._place()}, row {self.count - 1}",
                    row_of({name: values[0] for name, values in columns.items()}, labels),
                )
        finally:
            rows.close()  # its threads must not outlive the interpreter

    def _place(self) -> str:
        return f"{self.name}:{self.split}, file {self.number}" if self.split else self.name

    def _opened(self) -> Any:
        """The ``datasets.IterableDataset`` of this part alone, with media as bytes and paths."""
        if self.split:
            data = _hub_stream(self.name, self.split)
            return data.shard(num_shards=data.num_shards, index=self.number)
        kind = Path(self.name).suffix.lower()
        builder, options = {".tsv": ("csv", {"sep": "\t"})}.get(kind, (kind[1:], {}))
        load = datasets_library().load_dataset
        return _encoded(load(builder, data_files=self.name, split="train", streaming=True, **options))


def parts_of(path: Path) -> tuple[RowPart, ...]:
    """The parts of a data set.

    Args:
        path: a file, names with braces, a folder with files of rows, or a data set of the Hub.

    Raises:
        DataError: a file does not exist, holds no rows, or the data set cannot be found.
    """
    if (hub := hub_name(path)) is not None:
        name, _, split = hub.partition(":")
        with reading(hub):
            count = _hub_stream(name, split or "train").num_shards
        return tuple(RowPart(name, number, split or "train") for number in range(count))
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.lower().endswith(SUFFIXES))
    else:
        files = [Path(name) for name in expand_braces(str(path))]
    if not files:
        raise DataError(f"{path}: expected files that end in {', '.join(SUFFIXES)} in the folder, got none")
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: no such file")
        if not file.name.lower().endswith(SUFFIXES):
            raise DataError(f"{file}: expected a file that ends in {', '.join(SUFFIXES)}, to be streamed")
    return tuple(RowPart(str(file)) for file in files)


def _hub_stream(name: str, split: str) -> Any:
    with cache_if_unreachable():
        return _encoded(hub_data(name, split=split, streaming=True))


def _encoded(data: Any) -> Any:
    """The data set with media as bytes and paths; without known features, as of JSON and CSV, it has none decoded."""
    return data.decode(False) if data.features else data
