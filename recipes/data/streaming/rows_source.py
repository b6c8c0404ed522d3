"""Rows as the source of a stage's stream: their format, checks of rows and media, and the first samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from inlay.recipes.data.formats.read import first_fields, format_of
from inlay.recipes.data.rows.checks.media_check import MediaCheck
from inlay.recipes.data.rows.columns import check_columns, parse_columns, renamed
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.offenders import Invalid, Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.base import Row
from inlay.recipes.data.rows.tables.samples import Read, samples_of
from inlay.recipes.data.streaming.row_parts import RowPart, parts_of
from inlay.recipes.data.streaming.row_stream import LeftOut, RowStream

__all__ = ["RowSource", "row_source"]

Split = Callable[[Sample], Sequence[Sample]]
Problem = Callable[[Sequence[Sample], str], "DataError | None"]
"""Samples of one row, its place -> why the model cannot encode them; None if it can."""

_FIRST_ROWS = 100
"""The rows among which the first usable samples are looked for."""


def _alone(sample: Sample) -> Sequence[Sample]:
    return [sample]


@dataclass(frozen=True, kw_only=True)
class RowSource:
    """Files of rows, or a data set of the Hub, read during training."""

    path: Path
    parts: tuple[RowPart, ...]
    read: Read
    """Converts a row."""
    rules: MediaRules
    shuffle: int = 1000
    """Rows in the shuffle buffer."""
    broken: Invalid = "raise"
    """Whether an invalid row is an error or is left out."""
    split: Split = _alone
    """Sample -> the samples of the stage."""
    problem: Problem | None = None
    """Checks the samples of a row against the model."""
    too_long: Literal["raise", "skip", "cut"] = "raise"
    """Whether a row that is too long is an invalid row; otherwise it is left out, if it cannot be cut."""
    positions: Path | None = None
    """The folder for the positions of the blocks."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The local files; those of the Hub have no path."""
        return tuple(Path(part.name) for part in self.parts if not part.split)

    @property
    def amount(self) -> str:
        """The amount of data, in words."""
        return f"{len(self.parts)} file(s) of {self.path} as a stream"

    def first(self, count: int) -> list[Sample]:
        """The first usable samples, in the order of the rows.

        Raises:
            DataError: one of them is invalid, or there is none.
        """
        found: list[Sample] = []
        rows = islice(self.parts[0].stream(), _FIRST_ROWS)
        while len(found) < count and (row := next(rows, None)) is not None:
            for samples in self.convert([row]):
                if not isinstance(samples, DataError):
                    found += samples
                elif self.broken == "raise" and not isinstance(samples, LeftOut):
                    raise samples
        if not found:
            raise DataError(f"{self.path}: no usable row among the first {_FIRST_ROWS}")
        return found[:count]

    def convert(self, rows: Sequence[Row]) -> Iterator[list[Sample] | DataError]:
        """For each row its samples, or the reason why it cannot be used."""
        check = MediaCheck(self.rules.folder or Path().absolute(), links=self.rules.links)
        for where, row in rows:
            try:
                if isinstance(row, DataError):
                    raise row
                read = samples_of(self.read(row, where=where))
                if told := next(filter(None, check.problems(read)), ""):
                    raise DataError(f"{where}: {told}")
                samples = [sample for own in read for sample in self.split(own)]
                if self.problem is not None and (error := self.problem(samples, where)) is not None:
                    raise error
            except DataError as found:
                yield found
            else:
                yield samples

    def stream(self, *, seed: int, batch_size: int, start: int) -> RowStream:
        """The samples in the order of training.

        Args:
            seed: seed of the order.
            batch_size: of the loader.
            start: batches that each process has taken already.
        """
        return RowStream(
            self.parts,
            self.convert,
            seed=seed,
            buffer=self.shuffle,
            broken=self.broken,
            batch_size=batch_size,
            start=start,
            positions=self.positions,
        )


def row_source(
    path: Path,
    rules: MediaRules,
    *,
    format_name: str | None = None,
    columns: str | None = None,
    shuffle: int = 1000,
    broken: Invalid = "raise",
    too_long: Literal["raise", "skip", "cut"] = "raise",
) -> RowSource:
    """Open a source; only its first rows are read.

    Args:
        path: files, a folder of files, or a data set of the Hub; see
            :func:`~inlay.recipes.data.streaming.row_parts.parts_of`.
        rules: the folder of the media, and what may be read beside it.
        format_name: the name of the format; by default the first rows decide.
        columns: other names of columns, ``question=query,image=img``.
        shuffle: rows in the shuffle buffer.
        broken: whether an invalid row is an error or is left out.
        too_long: what happens to a row that is too long, as in ``--data.too_long``.

    Raises:
        DataError: no such file or data set, or no format for its rows.
    """
    parts, names = parts_of(path), parse_columns(columns or "")
    first = first_fields(row for _, row in parts[0].stream())
    check_columns(first, names, str(path))
    chosen = format_of(renamed(first, names), path, "records", format_name)
    offenders = Offenders(collect=True)
    offenders.noting = False
    read = partial(chosen.convert(names, per="caption"), root=rules, offenders=offenders)
    return RowSource(path=path, parts=parts, read=read, rules=rules, shuffle=shuffle, broken=broken, too_long=too_long)
