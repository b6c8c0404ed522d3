"""Reads a file of rows with a format's converter of one row; every format of rows shares it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from inlay.recipes.data.rows.media_values import MediaRules, Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import read_each
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.reading import Repeated
from inlay.recipes.data.rows.tables.samples import Samples

__all__ = ["Convert", "Repeated", "read_file"]

Convert: TypeAlias = Callable[..., "Sample | Sequence[Sample]"]
"""``sample(row, root, where, offenders, **options)``: one row as a plain dict -> its sample, or several or none; see
:func:`read_file`."""


def read_file(
    sample: Convert,
    path: str | Path,
    images: Root,
    offenders: Offenders | None = None,
    *,
    repeated: Repeated = "raise",
    **options: Any,
) -> Samples:
    """The samples of each row of a table, in the order of the file.

    See :func:`~inlay.recipes.data.rows.records.read_each`: the samples are checked now, and converted on access.

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
    read = partial(sample, root=rules, offenders=offenders, **options)
    return read_each(Path(path), read, offenders, repeated=repeated)
