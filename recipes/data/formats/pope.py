"""POPE's yes/no questions about objects in pictures (Li et al., 2023, https://arxiv.org/abs/2305.10355).

One JSON object a line: ``{"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in
the image?", "label": "yes"}``. The random, popular and adversarial questions are three files.
"""

from __future__ import annotations

from pathlib import Path

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, records, whole
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["KIND", "read_pope"]

KIND = "yes/no"
"""The type of every question, as VQA v2 names it."""

_READ = ("question_id", "image", "text", "label")


def read_pope(path: str | Path, images: str | Path | None, *, offenders: Offenders | None = None) -> list[Sample]:
    """Read questions.

    Args:
        path: the ``.jsonl`` file (the original's name ends in ``.json``, though it holds one object a line).
        images: the folder of the images.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their ids are the question ids. The images are not checked, see
        :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: with the file, the line (from 1) and the field: a label other than yes and no, a duplicate id, a
            field that is missing or of the wrong type.
    """
    path, root = Path(path), None if images is None else Path(images).absolute()
    samples: dict[str, Sample] = {}
    offenders = offenders or Offenders()
    for where, item in records(path, offenders):
        with offenders.row(where):
            refuse_unread(item, _READ, where)
            name = str(whole(item, "question_id", where))
            if name in samples:
                raise DataError(f"{where}, question_id: {name} is also the id of {samples[name].origin}")
            image = image_path(text(item.get("image"), f"{where}, image"), root, f"{where}, image")
            label = item.get("label")
            if label not in ("yes", "no"):
                raise DataError(f"{where}, label: expected 'yes' or 'no', got {shown(label)}")
            samples[name] = described(name, image, filled(item, "text", where), str(label), where, kinds=(KIND,))
    return list(samples.values())
