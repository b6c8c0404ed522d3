"""Media with captions, one JSON object a line or in a list: ``{"image": "1.jpg", "text": "A disc."}``.

The medium is ``image``, ``audio`` or ``video``; ``caption`` is another name of the field ``text``. A list of texts, as
in Flickr30k, is one sample with the first of them as its answer and all as `answers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.media.modality import GENERATED
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.fields import identity
from inlay.recipes.data.rows.media_values import Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.unread_fields import refuse_unread

__all__ = ["read_pairs", "recognise", "sample"]

TEXT_FIELDS = ("text", "caption")

_READ = ("id", *GENERATED, *TEXT_FIELDS)


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a row has a medium and a text."""
    return any(name in first for name in GENERATED) and any(name in first for name in TEXT_FIELDS)


def read_pairs(
    path: str | Path, images: Root, *, asked: str = "", offenders: Offenders | None = None
) -> Sequence[Sample]:
    """Read pairs from JSON lines or a JSON list; a medium with several texts has several rows, or a list of texts.

    Args:
        path: the file.
        images: the folder of the media.
        asked: the user's text beside the medium; may be empty.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their id is the field ``id``, or the line. The media are not checked, see
        :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the line (from 1) and the field: no text or two, an empty text, no medium or two, a
            duplicate id.
    """
    return read_file(sample, path, images, offenders, asked=asked)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders, *, asked: str = "") -> Sample:
    """One row: a medium and its text."""
    refuse_unread(row, _READ, where, offenders=offenders)
    fields = [field for field in TEXT_FIELDS if row.get(field) is not None]
    if len(fields) != 1:
        raise DataError(f"{where}: expected the text under {' or '.join(TEXT_FIELDS)}, got {len(fields)} of them")
    media = [kind for kind in GENERATED if row.get(kind) is not None]
    if len(media) != 1:
        raise DataError(f"{where}: expected one of {', '.join(GENERATED)}, got {' and '.join(media) or 'none of them'}")
    kind = media[0]
    source = medium(row[kind], kind, root, f"{where}, {kind}")
    said = row[fields[0]]
    texts = [
        filled({fields[0]: one}, fields[0], where) for one in (said if isinstance(said, list) and said else [said])
    ]
    return described(
        identity(row, where), source, asked, texts[0], where, modality=kind, answers=tuple(texts[1:] and texts)
    )
