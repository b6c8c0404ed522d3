"""Other names of the columns of a data file: ``question=query,image=img``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError

__all__ = ["check_columns", "parse_columns", "renamed"]


def parse_columns(text: str) -> dict[str, str]:
    """The columns of ``--data.columns``: name in a format -> name in the file.

    Raises:
        DataError: another form, or a name that comes twice.

    Example:
        >>> parse_columns("question=query, image=img")
        {'question': 'query', 'image': 'img'}
    """
    found: dict[str, str] = {}
    for pair in filter(None, (piece.strip() for piece in text.split(","))):
        ours, equals, theirs = (piece.strip() for piece in pair.partition("="))
        if not (ours and equals and theirs) or ours in found or theirs in found.values():
            raise DataError(f"data.columns: expected NAME=COLUMN,..., each name once, got {shown(text)}")
        found[ours] = theirs
    return found


def renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    """The row with the names of the format; other columns keep theirs, unless a mapped column takes their name.

    Example:
        >>> renamed({"query": "a", "label": "b"}, {"question": "query"})
        {'label': 'b', 'question': 'a'}
    """
    if not columns:
        return row
    others = {name: value for name, value in row.items() if name not in columns and name not in columns.values()}
    return others | {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}


def check_columns(first: Mapping[str, Any], columns: Mapping[str, str], where: str) -> None:
    """Check that the first rows of a file have all mapped columns.

    Raises:
        DataError: names the column, and the columns that there are.
    """
    if missing := [theirs for theirs in columns.values() if theirs not in first]:
        known = ", ".join(map(str, first))
        raise DataError(f"{where}: no column {shown(missing[0])} in its first rows (--data.columns); it has {known}")
