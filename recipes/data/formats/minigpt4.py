"""MiniGPT-4's second-stage pairs, ``filter_cap.json`` (Zhu et al., 2023, https://arxiv.org/abs/2304.10592).

``{"annotations": [{"image_id", "caption"}]}`` beside a folder ``image`` of ``<image_id>.jpg``; the captions are long
descriptions. The user's text is chosen from ``DESCRIBE`` of
:mod:`~inlay.recipes.data.preparation.instruction_templates`.
"""

from __future__ import annotations

from pathlib import Path

from inlay.recipes.data.rows.media_values import MediaRules, Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, table, whole
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["read_filter_cap"]


def read_filter_cap(
    path: str | Path, images: Root, *, asked: str = "", offenders: Offenders | None = None
) -> list[Sample]:
    """Read the file.

    Args:
        path: the JSON file.
        images: the folder of the pictures, which are named by their ids.
        asked: the user's text beside the image; may be empty.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their ids are the image ids. The images are not checked, see
        :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the annotation (from 0) and the id: a duplicate id, an empty caption, a field of the
            wrong type.
    """
    path, root = Path(path), MediaRules.of(images)
    _, notes = table(path, "annotations")
    samples: dict[str, Sample] = {}
    offenders = offenders or Offenders()
    for index, item in enumerate(notes):
        where = f"{path}, annotation {index}"
        with offenders.row(where):
            number = isinstance(item.get("image_id"), int)
            name = str(whole(item, "image_id", where)) if number else filled(item, "image_id", where)
            where = f"{where} (image_id {name})"
            if name in samples:
                raise DataError(f"{where}: the same image_id as {samples[name].origin}")
            image = medium(f"{name}.jpg", "image", root, where)
            samples[name] = described(name, image, asked, filled(item, "caption", where), where)
    return list(samples.values())
