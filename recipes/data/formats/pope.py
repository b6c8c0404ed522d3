"""POPE's yes/no questions about objects in pictures (Li et al., 2023, https://arxiv.org/abs/2305.10355).

One JSON object a line: ``{"question_id": 1, "image": "COCO_val2014_000000310196.jpg", "text": "Is there a snowboard in
the image?", "label": "yes"}``. The random, popular and adversarial questions are three files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.media_values import Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, whole
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.unread_fields import refuse_unread

__all__ = ["KIND", "read_pope", "sample"]

KIND = "yes/no"
"""The type of every question, as VQA v2 names it."""

_READ = ("question_id", "image", "text", "label")


def read_pope(path: str | Path, images: Root, *, offenders: Offenders | None = None) -> Sequence[Sample]:
    """Read questions.

    Args:
        path: the ``.jsonl`` file (the original's name ends in ``.json``, though it holds one object a line).
        images: the folder of the images.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their ids are the question ids. The images are not checked, see
        :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the line (from 1) and the field: a label other than yes and no, a duplicate id, a
            field that is missing or of the wrong type.
    """
    return read_file(sample, path, images, offenders)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row."""
    refuse_unread(row, _READ, where, offenders=offenders)
    name = str(whole(row, "question_id", where))
    image = medium(row.get("image"), "image", root, f"{where}, image")
    label = row.get("label")
    if label not in ("yes", "no"):
        raise DataError(f"{where}, label: expected 'yes' or 'no', got {shown(label)}")
    return described(name, image, filled(row, "text", where), str(label), where, kinds=(KIND,))
