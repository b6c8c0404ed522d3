"""Rows and media that cannot be used: all of them are collected, listed in a file, and stop the run or are left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.write import write_text

__all__ = ["SHOWN", "Invalid", "Offender", "Offenders", "settle", "write_list"]

Invalid: TypeAlias = Literal["raise", "skip"]
"""What happens to data that cannot be used: the run does not begin, or they are left out."""

SHOWN = 5
"""Offenders that an error names; the file names all."""


@dataclass(frozen=True, slots=True)
class Offender:
    """One row that cannot be used."""

    where: str
    """``train.json, item 12``."""
    reason: str
    """The whole error, which names the place too."""


class Offenders:
    """Collects the errors of rows, and notes on rows that are read in another form than they are written.

    Args:
        collect: keep the errors; otherwise the first one is raised, as in a call from Python.

    Example:
        >>> offenders = Offenders(collect=True)
        >>> with offenders.row("train.json, item 3"):
        ...     raise DataError("train.json, item 3, id: expected text")
        >>> [offender.where for offender in offenders.found]
        ['train.json, item 3']
    """

    def __init__(self, *, collect: bool = False) -> None:
        self.collect = collect
        self.found: list[Offender] = []
        self.notes: dict[str, tuple[int, str]] = {}

    def row(self, where: str) -> _Row:
        """A context in which one row is read; a :class:`DataError` in it concerns that row alone."""
        return _Row(self, where)

    def add(self, where: str, error: DataError) -> None:
        """Keep an error.

        Raises:
            DataError: that error, where none are kept.
        """
        if not self.collect:
            raise error
        self.found.append(Offender(where, str(error)))

    def note(self, text: str, where: str) -> None:
        """Count a row that is read in another form than it is written."""
        count, first = self.notes.get(text, (0, where))
        self.notes[text] = count + 1, first

    def lines(self) -> list[str]:
        """The notes, each with its number of rows and the first of them."""
        return [f"{count:,} row(s) {text} (first: {first})" for text, (count, first) in self.notes.items()]


class _Row:
    """Faster than a generator-based context: one is entered for every row of a data set."""

    __slots__ = ("offenders", "where")

    def __init__(self, offenders: Offenders, where: str) -> None:
        self.offenders, self.where = offenders, where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, DataError) or not self.offenders.collect:
            return False
        self.offenders.add(self.where, error)
        return True


def settle(
    found: Sequence[Offender], invalid: Invalid, *, report: Path | None, show: Callable[[str], object] | None
) -> None:
    """Stop, or say that rows are left out.

    Args:
        found: rows that cannot be used.
        invalid: whether to stop.
        report: where the list of all is written before the run stops, or will be.
        show: where lines for the user go.

    Raises:
        DataError: ``invalid`` is ``raise``; names the first offenders and the list.
    """
    if not found:
        return
    listed = "" if report is None else f"; all are listed in {report}"
    first = "\n  ".join(item.reason for item in found[:SHOWN])
    if invalid == "raise":
        if report is not None:
            write_list(report, found)
        raise DataError(
            f"{len(found):,} row(s) of the data cannot be used{listed}; mend them, or leave them out with "
            f"--data.invalid skip:\n  {first}"
        )
    if show is not None:
        show(f"left out: {len(found):,} row(s) of the data that cannot be used{listed}:\n  {first}")


def write_list(path: Path, found: Sequence[Offender]) -> None:
    """Write the list of rows that cannot be used, one JSON object a line with ``where`` and ``reason``.

    Without any row an earlier list is removed.
    """
    if not found:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"where": item.where, "reason": item.reason} for item in found)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
