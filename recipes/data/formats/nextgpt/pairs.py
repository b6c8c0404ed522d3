"""NExT-GPT's captioned media (Wu et al., 2023, https://arxiv.org/abs/2309.05519): pictures, sounds and clips.

One JSON list; an item is ``{"caption": ..., "image_name" | "audio_name" | "video_name": file}``, perhaps with an
``id``. Stage one reads it from the medium to the caption, stage two from the caption to the medium, see
:func:`~inlay.recipes.data.preparation.reverse.reversed_pairs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import Modality
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.fields import identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled, records
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["NAME_FIELDS", "read_nextgpt_pairs"]

NAME_FIELDS: dict[str, Modality] = {f"{modality}_name": modality for modality in get_args(Modality)}
"""Field -> what kind of medium it names."""

_READ = ("id", "caption", *NAME_FIELDS)


def read_nextgpt_pairs(
    path: str | Path, media: str | Path | None, *, asked: str = "", offenders: Offenders | None = None
) -> list[Sample]:
    """Read the file; a medium may come with several captions, each in an item of its own.

    Args:
        path: the JSON file, or one with an object a line if its name ends in ``.jsonl``.
        media: the folder of the media.
        asked: what the user says besides the medium; empty for nothing.
        offenders: takes the rows that cannot be used; the first one is an error if not given.

    Returns:
        Samples in the order of the file, user's turn with the medium, assistant's turn with the caption. The media are
        not looked at, see :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: names the file, the item (from 0) and the field: no medium or two, an empty caption, an id twice.
    """
    path, root = Path(path), None if media is None else Path(media).absolute()
    samples: dict[str, Sample] = {}
    offenders = offenders or Offenders()
    for where, item in records(path, offenders):
        with offenders.row(where):
            refuse_unread(item, _READ, where)
            modality, file = _medium(item, root, where)
            name = identity(item, where, where.rpartition(", ")[2].replace(" ", "-"))
            if name in samples:
                raise DataError(f"{where}, id: {shown(name)} is also the id of {samples[name].origin}")
            shown_part: tuple[Part, ...] = (MediaPart(modality, file), *([TextPart(asked)] if asked else []))
            said = TextPart(filled(item, "caption", where))
            samples[name] = Sample(name, (Message("user", shown_part), Message("assistant", (said,))), where)
    return list(samples.values())


def _medium(item: Mapping[str, Any], root: Path | None, where: str) -> tuple[Modality, Path]:
    named = [field for field in NAME_FIELDS if field in item]
    if len(named) != 1:
        raise DataError(
            f"{where}: expected one of {', '.join(NAME_FIELDS)}, got {', '.join(named) if named else 'none of them'}"
        )
    field = named[0]
    return NAME_FIELDS[field], image_path(text(item[field], f"{where}, {field}"), root, f"{where}, {field}")
