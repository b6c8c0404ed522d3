"""Image-text pairs, one JSON object a line or in a list: ``{"image": "1.jpg", "text": "A disc."}``.

The text may also stand under ``caption``.
"""

from __future__ import annotations

from pathlib import Path

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, records
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["TEXT_FIELDS", "read_pairs"]

TEXT_FIELDS = ("text", "caption")

_READ = ("id", "image", *TEXT_FIELDS)


def read_pairs(
    path: str | Path, images: str | Path | None, *, asked: str = "", offenders: Offenders | None = None
) -> list[Sample]:
    """Read pairs from JSON lines or a JSON list; an image may come with several texts, each in a line of its own.

    Args:
        path: the file.
        images: the folder of the images.
        asked: what the user says besides the image; empty for nothing.
        offenders: takes the rows that cannot be used; the first one is an error if not given.

    Returns:
        Samples in the order of the file; the field ``id``, or the line, is their id. The images themselves are not
        looked at, see :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: names the file, the line (from 1) and the field: no text or two, an empty text, no image, an id
            twice.
    """
    path, root = Path(path), None if images is None else Path(images).absolute()
    samples: dict[str, Sample] = {}
    offenders = offenders or Offenders()
    for where, item in records(path, offenders):
        with offenders.row(where):
            refuse_unread(item, _READ, where)
            fields = [field for field in TEXT_FIELDS if field in item]
            if len(fields) != 1:
                raise DataError(
                    f"{where}: expected the text under {' or '.join(TEXT_FIELDS)}, got {len(fields)} of them"
                )
            image = image_path(text(item.get("image"), f"{where}, image"), root, f"{where}, image")
            name = identity(item, where, where.rpartition(", ")[2].replace(" ", "-"))
            if name in samples:
                raise DataError(f"{where}, id: {shown(name)} is also the id of {samples[name].origin}")
            samples[name] = described(name, image, asked, filled(item, fields[0], where), where)
    return list(samples.values())
