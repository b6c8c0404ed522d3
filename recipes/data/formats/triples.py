"""InstructBLIP's triples: an image, an instruction, an answer (Dai et al., 2023, https://arxiv.org/abs/2305.06500).

A JSON list, or JSON lines, of ``{"image", "text_input", "text_output"}``. The instruction may be a plain question;
:mod:`~inlay.recipes.data.preparation.instruction_templates` has wordings for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.fields import identity
from inlay.recipes.data.rows.media_values import Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.unread_fields import refuse_unread

__all__ = ["read_triples", "sample"]

_READ = ("id", "image", "text_input", "text_output")


def read_triples(path: str | Path, images: Root, *, offenders: Offenders | None = None) -> Sequence[Sample]:
    """Read triples.

    Args:
        path: JSON lines if it ends in ``.jsonl``, otherwise a JSON list.
        images: the folder of the images.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their id is the field ``id``, or the place. The images are not checked, see
        :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the item (from 0) or line (from 1), and the field: a field that is missing, empty or
            not text, a duplicate id.
    """
    return read_file(sample, path, images, offenders)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row."""
    refuse_unread(row, _READ, where, offenders=offenders)
    image = medium(row.get("image"), "image", root, f"{where}, image")
    asked, answer = filled(row, "text_input", where), filled(row, "text_output", where)
    return described(identity(row, where), image, asked, answer, where)
