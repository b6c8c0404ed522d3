"""File names of images by number, as in COCO: ``COCO_val2014_%012d.jpg``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from inlay.adapters.media.image import MediaError, path_inside
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError

__all__ = ["PATTERNS", "find_pattern", "image_name"]

PATTERNS = (
    "COCO_train2014_%012d.jpg",
    "COCO_val2014_%012d.jpg",
    "COCO_test2015_%012d.jpg",
    "%012d.jpg",
    "%d.jpg",
    "%d.png",
)
"""Patterns in the order in which they are tried: COCO's names of 2014 and 2017, plain numbers."""

_NUMBER = re.compile(r"%(?:0\d{1,2})?d")
_TRIED = 20


def image_name(pattern: str, number: int) -> str:
    """The name of one image.

    Args:
        pattern: a relative path with one ``%d`` or ``%0<width>d`` and no other percent sign.
        number: the image id.

    Raises:
        DataError: another pattern.

    Example:
        >>> image_name("val2014/COCO_val2014_%012d.jpg", 42)
        'val2014/COCO_val2014_000000000042.jpg'
    """
    if len(_NUMBER.findall(pattern)) != 1 or pattern.count("%") != 1:
        raise DataError(f"pattern: expected one %d or %012d in the name of an image, got {shown(pattern)}")
    try:
        path_inside(pattern, Path())
    except MediaError as error:
        raise DataError(f"pattern: {error}") from None
    return pattern % number


def find_pattern(images: Path, numbers: Sequence[int], subtype: object = None) -> str:
    """The pattern of the image names in a folder.

    Args:
        images: the folder.
        numbers: image ids; files of the first twenty distinct ones are tried.
        subtype: the data file's ``data_subtype``, such as ``val2014``: ``COCO_<subtype>_%012d.jpg`` is tried first.

    Returns:
        The first pattern under which any of these images exists. Missing images are not reported here.

    Raises:
        DataError: no pattern fits; lists the patterns that were tried.
    """
    own = [f"COCO_{subtype}_%012d.jpg"] if isinstance(subtype, str) and re.fullmatch(r"\w{1,40}", subtype) else []
    tried = list(dict.fromkeys([*own, *PATTERNS]))
    some = list(islice(dict.fromkeys(numbers), _TRIED))
    for pattern in tried:
        if any((images / image_name(pattern, number)).exists() for number in some):
            return pattern
    raise DataError(
        f"{images}: none of the first {len(some)} images (image_id {', '.join(map(str, some[:5]))}, ...) exists "
        f"under any of the names {', '.join(tried)}; name another folder, or give pattern= (on the command line "
        "--data.images, --data.pattern)"
    )
