"""Rows of official files as tables: CSV, and tab-separated texts with base64 pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from inlay.recipes.data.rows.fields import decode, file_bytes
from inlay.recipes.data.rows.sample import DataError

__all__ = ["csv_rows"]

_LONGEST = 1 << 28
"""Limit on the bytes of a field, for a base64 picture."""


def csv_rows(path: Path, *columns: str, delimiter: str = ",") -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table with a header, each with its position in the file.

    Args:
        path: the file.
        columns: the columns that it must have.
        delimiter: the separator of fields.

    Raises:
        DataError: a missing column, or a row with another number of fields.
    """
    held = csv.field_size_limit(_LONGEST)
    try:
        lines = decode(file_bytes(path), str(path)).splitlines(keepends=True)
        reader = csv.DictReader(lines, delimiter=delimiter, restkey="", restval=None)
        header = reader.fieldnames or ()
        if missing := [column for column in columns if column not in header]:
            raise DataError(f"{path}: expected the columns {', '.join(columns)}; missing: {', '.join(missing)}")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if "" in row or None in row.values():
                raise DataError(f"{where}: expected {len(header)} fields, as in the header")
            yield where, row
    except csv.Error as error:
        raise DataError(f"{path}: {error}") from error
    finally:
        csv.field_size_limit(held)
