"""Reads a file of rows with a format's converter of one row; every format of rows shares this loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.media_values import MediaRules, Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import records
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["Convert", "Repeated", "read_file"]

Convert: TypeAlias = Callable[..., Sample]
"""``sample(row, root, where, offenders, **options)``: one row as a plain dict -> its sample; see :func:`read_file`."""

Repeated: TypeAlias = Literal["raise", "number"]
"""A repeated id is an error, or is numbered: ``7#2``."""


def read_file(
    sample: Convert,
    path: str | Path,
    images: Root,
    offenders: Offenders | None = None,
    *,
    repeated: Repeated = "raise",
    **options: Any,
) -> list[Sample]:
    """Read one sample from each row of a JSON list or of JSON lines, in the order of the file.

    Args:
        sample: ``sample(row, root, where, offenders, **options)``: a pure function of the row (which it must not
            change), the rules for media, and the row's place. It raises a :class:`DataError` for an invalid row, and
            adds notes to `offenders`.
        path: the file.
        images: the folder of the media; None if there are none.
        offenders: collects invalid rows, and notes; if not given, the first invalid row raises an error.
        repeated: what a repeated id means.
        options: passed to `sample`.

    Raises:
        DataError: with the file, the item (from 0) or line (from 1), and the field.
    """
    rules, offenders = MediaRules.of(images), offenders or Offenders()
    found: dict[str, tuple[int, str]] = {}
    samples: list[Sample] = []
    for where, row in records(Path(path), offenders):
        with offenders.row(where):
            read = sample(row, rules, where, offenders, **options)
            times, first = found.get(read.id, (0, where))
            if times and repeated == "raise":
                raise DataError(f"{where}, {_id_field(row)}: {shown(read.id)} is also the id of {first}")
            found[read.id] = times + 1, first
            samples.append(replace(read, id=f"{read.id}#{times + 1}") if times else read)
    return samples


def _id_field(row: Mapping[str, Any]) -> str:
    return "question_id" if "question_id" in row and "id" not in row else "id"
