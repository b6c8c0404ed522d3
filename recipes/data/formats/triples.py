"""InstructBLIP's triples: an image, an instruction, an answer (Dai et al., 2023, https://arxiv.org/abs/2305.06500).

A JSON list, or JSON lines, of ``{"image", "text_input", "text_output"}``. The instruction may be bare, such as a
question; :mod:`~inlay.recipes.data.preparation.instruction_templates` puts words around it.
"""

from __future__ import annotations

from pathlib import Path

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import described, filled, records
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["read_triples"]

_READ = ("id", "image", "text_input", "text_output")


def read_triples(path: str | Path, images: str | Path | None, *, offenders: Offenders | None = None) -> list[Sample]:
    """Read triples.

    Args:
        path: JSON lines if it ends in ``.jsonl``, otherwise a JSON list.
        images: the folder of the images.
        offenders: takes the rows that cannot be used; the first one is an error if not given.

    Returns:
        Samples in the order of the file; the field ``id``, or the place, is their id. The images themselves are not
        looked at, see :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: names the file, the item (from 0) or line (from 1), and the field: a field that is missing, empty or
            no text, an id twice.
    """
    path, root = Path(path), None if images is None else Path(images).absolute()
    samples: dict[str, Sample] = {}
    offenders = offenders or Offenders()
    for where, item in records(path, offenders):
        with offenders.row(where):
            refuse_unread(item, _READ, where)
            image = image_path(text(item.get("image"), f"{where}, image"), root, f"{where}, image")
            name = identity(item, where, where.rpartition(", ")[2].replace(" ", "-"))
            if name in samples:
                raise DataError(f"{where}, id: {shown(name)} is also the id of {samples[name].origin}")
            asked, answer = filled(item, "text_input", where), filled(item, "text_output", where)
            samples[name] = described(name, image, asked, answer, where)
    return list(samples.values())
