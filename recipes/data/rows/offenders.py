"""Invalid rows and media: they are collected, listed in a file, and stop the run or are left out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeAlias

from inlay.hub.errors import InlayError
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.write import write_text

__all__ = ["SHOWN", "Invalid", "MediaProblems", "Offender", "Offenders", "by_cause", "settle", "write_list"]

Invalid: TypeAlias = Literal["raise", "skip"]
"""Whether invalid data stop the run or are left out."""

SHOWN = 5
"""The number of causes in an error, and of rows with the same cause; the file lists all rows."""
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\S*[/\\\d]\S*")
"""Parts of a reason that differ between rows with the same cause: quoted texts, paths, numbers, names with digits."""


@dataclass(frozen=True, slots=True)
class Offender:
    """One invalid row."""

    where: str
    """Its place, such as ``train.json, item 12``."""
    reason: str
    """The whole error text, with the place."""


class MediaProblems(Protocol):
    """A check of the media of samples; :class:`~inlay.recipes.data.rows.checks.media_check.MediaCheck` is the one."""

    @property
    def rules(self) -> tuple[Any, ...]:
        """Plain values that decide which media are valid."""

    @property
    def folders(self) -> Mapping[str, list[int]]:
        """Folders of the checked media, and values that change when a file is added, renamed or removed."""

    @property
    def notes(self) -> list[tuple[str, str]]:
        """Notes on valid media, and the place of the row; the caller takes them away."""

    def problems(self, samples: Sequence[Sample]) -> list[str]:
        """Why the media of each sample cannot be used; empty if they can."""


class Offenders:
    """Collects the errors of rows, and notes on rows that are read in another form than written.

    Args:
        collect: whether to keep the errors; if not, the first one is raised, as in a call from Python.
        media: checks the media of each row of a table; if not given, the caller checks them.
        show: prints the first invalid row as soon as it is met, while the others are still to be checked.

    Example:
        >>> offenders = Offenders(collect=True)
        >>> with offenders.row("train.json, item 3"):
        ...     raise DataError("train.json, item 3, id: expected text")
        >>> [offender.where for offender in offenders.found]
        ['train.json, item 3']
    """

    def __init__(
        self,
        *,
        collect: bool = False,
        media: MediaProblems | None = None,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self.collect, self.media, self.show = collect, media, show
        self.found: list[Offender] = []
        self.notes: dict[str, tuple[int, str]] = {}
        self.noting = True
        """Whether notes are counted; not while rows are converted again after the check."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Readers hold their offenders; a copy in another process converts rows that were checked before."""
        return _silent, (self.collect,)

    def row(self, where: str) -> _Row:
        """A context for reading one row; a :class:`DataError` in it concerns only this row."""
        return _Row(self, where)

    def tell(self, reason: str) -> None:
        """Print an invalid row, if it is the first one."""
        if self.show is not None:
            self.show(f"the first invalid row: {reason}; the other rows are being checked")
            self.show = None

    def add(self, where: str, error: DataError) -> None:
        """Keep an error.

        Raises:
            DataError: the error itself, unless errors are collected.
        """
        if not self.collect:
            raise error
        self.tell(str(error))
        self.found.append(Offender(where, str(error)))

    def note(self, text: str, where: str, count: int = 1, *, unit: str = "row(s)") -> None:
        """Count rows that are read in another form than written.

        Args:
            text: what is special about them, as the rest of a sentence that begins with their number.
            where: the place of the first one.
            count: their number.
            unit: what is counted.
        """
        if self.noting and count:
            self.merge({f"{unit} {text}": (count, where)})

    def merge(self, notes: Mapping[str, tuple[int, str]]) -> None:
        """Add the notes of an earlier check: ``row(s) ...`` -> their number, and the place of the first one."""
        for text, (count, where) in notes.items():
            before, first = self.notes.get(text, (0, where))
            self.notes[text] = before + count, first

    def lines(self) -> list[str]:
        """The notes, each with its number of rows and the first row."""
        return [f"{count:,} {text} (first: {first})" for text, (count, first) in self.notes.items()]


def _silent(collect: bool) -> Offenders:
    offenders = Offenders(collect=collect)
    offenders.noting = False
    return offenders


class _Row:
    """The context of one row; a class, because a generator-based context is slower."""

    __slots__ = ("offenders", "where")

    def __init__(self, offenders: Offenders, where: str) -> None:
        self.offenders, self.where = offenders, where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception) and not isinstance(error, InlayError):  # of a format of the user's own
            error.add_note(self.where)
        if not isinstance(error, DataError) or not self.offenders.collect:
            return False
        self.offenders.add(self.where, error)
        return True


def settle(
    found: Sequence[Offender],
    invalid: Invalid,
    *,
    report: Path | None,
    show: Callable[[str], object] | None,
    advice: str = "",
) -> None:
    """Raise an error for invalid rows, or print that they are left out.

    Args:
        found: the invalid rows.
        invalid: whether to raise.
        report: file of the whole list; it is written before the error is raised.
        show: prints a line for the user.
        advice: what may help beside correcting the rows, as a last line.

    Raises:
        DataError: ``invalid`` is ``raise``; with the causes, the first rows of each, and the path of the list.
    """
    if not found:
        return
    listed = "" if report is None else f"; all are listed in {report}"
    first = "\n  ".join([*by_cause(found), *([advice] if advice else [])])
    if invalid == "raise":
        if report is not None:
            write_list(report, found)
        raise DataError(
            f"{len(found):,} row(s) of the data cannot be used{listed}; correct them, or leave them out with "
            f"--data.invalid skip:\n  {first}"
        )
    if show is not None:
        show(f"left out: {len(found):,} row(s) of the data that cannot be used{listed}:\n  {first}")


def by_cause(found: Sequence[Offender]) -> list[str]:
    r"""One line for each of the first causes: the whole error of its first row, and the places of the next ones.

    Example:
        >>> found = [Offender(f"a.json, item {n}", f"a.json, item {n}: {n}.png: no such file") for n in (3, 4, 9)]
        >>> print(*by_cause([*found, Offender("a.json, item 5", "a.json, item 5: expected text")]), sep="\n")
        a.json, item 3: 3.png: no such file (3 such rows; next: item 4, item 9)
        a.json, item 5: expected text
    """
    causes: dict[str, list[Offender]] = {}
    for item in found:
        causes.setdefault(_VARYING.sub("*", item.reason.removeprefix(item.where)), []).append(item)
    lines = [rows[0].reason + _further(rows) for rows in list(causes.values())[:SHOWN]]
    return [*lines, f"and {len(causes) - SHOWN:,} other cause(s)"] if len(causes) > SHOWN else lines


def _further(rows: Sequence[Offender]) -> str:
    if len(rows) == 1:
        return ""
    file = rows[0].where.partition(", ")[0]
    places = ", ".join(item.where.removeprefix(f"{file}, ") for item in rows[1:SHOWN])
    return f" ({len(rows):,} such rows; next: {places}{', ...' if len(rows) > SHOWN else ''})"


def write_list(path: Path, found: Sequence[Offender]) -> None:
    """Write the list of invalid rows, one JSON object a line with ``where`` and ``reason``.

    Without invalid rows, an existing list is removed.
    """
    if not found:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"where": item.where, "reason": item.reason} for item in found)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
