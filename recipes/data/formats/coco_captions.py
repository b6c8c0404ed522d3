"""COCO captions, one JSON object (Chen et al., 2015, https://arxiv.org/abs/1504.00325).

``{"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]}``; other fields are ignored.
An image has several captions, five in COCO.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inlay.recipes.data.rows.media_values import MediaRules, Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, objects, table, whole
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["read_coco_captions"]


class _Caption(NamedTuple):
    number: int
    image: int
    words: str
    where: str


def read_coco_captions(
    path: str | Path,
    images: Root,
    *,
    per: Literal["image", "caption"] = "image",
    asked: str = "",
    offenders: Offenders | None = None,
) -> list[Sample]:
    """Read a captions file.

    Args:
        path: the JSON file.
        images: the folder that ``file_name`` is relative to.
        per: ``image``: one sample for each image, answered by the first caption, for evaluation. ``caption``: one
            sample for each caption, for training. In both cases a sample's `answers` are all captions of its image.
        asked: the user's text beside the image; may be empty.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the images or of the captions; their ids are the image ids or the caption ids. The
        images are not checked, see :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the entry (from 0) and the ids: a caption without its image, an image without a
            caption, a duplicate id, an empty caption, a field of the wrong type.
    """
    path, root = Path(path), MediaRules.of(images)
    offenders = offenders or Offenders()
    document, notes = table(path, "annotations")
    listed = document.get("images")
    if not isinstance(listed, list) or not listed:
        raise DataError(f'{path}: expected {{"images": [...], "annotations": [...]}}, got no list of images')
    files: dict[int, tuple[str, Any]] = {}
    for index, item in enumerate(objects(listed, f"{path}, images")):
        where = f"{path}, image {index}"
        with offenders.row(where):
            number = whole(item, "id", where)
            if number in files:
                raise DataError(f"{where}: id {number} is also the id of {files[number][0]}")
            file = medium(filled(item, "file_name", where), "image", root, f"{where} (id {number}), file_name")
            files[number] = where, file
    captions = _captions(notes, files, path, offenders)
    by_image: dict[int, list[_Caption]] = {number: [] for number in files}
    for caption in captions:
        by_image[caption.image].append(caption)
    for number in [number for number, own in by_image.items() if not own]:
        where = files[number][0]
        offenders.add(where, DataError(f"{where} (id {number}): no annotation has a caption of this image"))
        del by_image[number]
    references = {number: tuple(caption.words for caption in own) for number, own in by_image.items()}
    chosen = [own[0] for own in by_image.values()] if per == "image" else captions
    return [
        described(
            str(caption.image if per == "image" else caption.number),
            files[caption.image][1],
            asked,
            caption.words,
            caption.where,
            answers=references[caption.image],
        )
        for caption in chosen
    ]


def _captions(
    notes: list[dict[str, Any]], files: Mapping[int, tuple[str, Any]], path: Path, offenders: Offenders
) -> list[_Caption]:
    captions: dict[int, _Caption] = {}
    for index, item in enumerate(notes):
        where = f"{path}, annotation {index}"
        with offenders.row(where):
            number, image = whole(item, "id", where), whole(item, "image_id", where)
            where = f"{where} (id {number}, image_id {image})"
            if image not in files:
                raise DataError(f"{where}: no image has this image_id")
            if number in captions:
                raise DataError(f"{where}: the same id as {captions[number].where}")
            captions[number] = _Caption(number, image, filled(item, "caption", where), where)
    return list(captions.values())
