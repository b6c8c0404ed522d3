"""InstructBLIP's triples: an image, an instruction, an answer (Dai et al., 2023, https://arxiv.org/abs/2305.06500).

A JSON list, or JSON lines, of ``{"image", "text_input", "text_output"}``. The instruction may be a plain question;
:mod:`~inlay.recipes.data.preparation.instruction_templates` has wordings for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.recipes.data.rows.fields import identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, read_each
from inlay.recipes.data.rows.sample import Sample

__all__ = ["read_triples"]

_READ = ("id", "image", "text_input", "text_output")


def read_triples(
    path: str | Path, images: str | Path | None, *, offenders: Offenders | None = None
) -> Sequence[Sample]:
    """Read triples.

    Args:
        path: JSON lines if it ends in ``.jsonl``, otherwise a JSON list.
        images: the folder of the images.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file; their id is the field ``id``, or the place. The images are not checked, see
        :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: with the file, the item (from 0) or line (from 1), and the field: a field that is missing, empty or
            not text, a duplicate id.
    """
    root = None if images is None else Path(images).absolute()

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, _READ, where)
        image = image_path(text(item.get("image"), f"{where}, image"), root, f"{where}, image")
        asked, answer = filled(item, "text_input", where), filled(item, "text_output", where)
        return described(identity(item, where), image, asked, answer, where)

    return read_each(Path(path), sample, offenders)
