"""Image-text pairs, one JSON object a line or in a list: ``{"image": "1.jpg", "text": "A disc."}``.

``caption`` is another name of the field ``text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.recipes.data.rows.fields import identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, read_each
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["TEXT_FIELDS", "read_pairs"]

TEXT_FIELDS = ("text", "caption")

_READ = ("id", "image", *TEXT_FIELDS)


def read_pairs(
    path: str | Path, images: str | Path | None, *, asked: str = "", offenders: Offenders | None = None
) -> Sequence[Sample]:
    """Read pairs from JSON lines or a JSON list; an image with several texts has several lines.

    Args:
        path: the file.
        images: the folder of the images.
        asked: the user's text beside the image; may be empty.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their id is the field ``id``, or the line. The images are not checked, see
        :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: with the file, the line (from 1) and the field: no text or two, an empty text, no image, a duplicate
            id.
    """
    root = None if images is None else Path(images).absolute()

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, _READ, where)
        fields = [field for field in TEXT_FIELDS if field in item]
        if len(fields) != 1:
            raise DataError(f"{where}: expected the text under {' or '.join(TEXT_FIELDS)}, got {len(fields)} of them")
        image = image_path(text(item.get("image"), f"{where}, image"), root, f"{where}, image")
        return described(identity(item, where), image, asked, filled(item, fields[0], where), where)

    return read_each(Path(path), sample, offenders)
