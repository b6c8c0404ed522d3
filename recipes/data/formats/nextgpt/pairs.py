"""NExT-GPT's captioned media (Wu et al., 2023, https://arxiv.org/abs/2309.05519): pictures, sounds and clips.

One JSON list; an item is ``{"caption": ..., "image_name" | "audio_name" | "video_name": file}``, optionally with an
``id``. Stage one trains from the medium to the caption, stage two from the caption to the medium, see
:func:`~inlay.recipes.data.preparation.reverse.reversed_pairs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.fields import identity
from inlay.recipes.data.rows.media_values import Root, medium
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.unread_fields import refuse_unread

__all__ = ["NAME_FIELDS", "read_nextgpt_pairs", "sample"]

NAME_FIELDS: dict[str, Modality] = {f"{modality}_name": modality for modality in GENERATED}
"""Field -> modality of the medium that it names."""

_READ = ("id", "caption", *NAME_FIELDS)


def read_nextgpt_pairs(
    path: str | Path, media: Root, *, asked: str = "", offenders: Offenders | None = None
) -> Sequence[Sample]:
    """Read the file; a medium with several captions has several items.

    Args:
        path: a JSON list, or JSON lines.
        media: the folder of the media.
        asked: the user's text beside the medium; may be empty.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file, user's turn with the medium, assistant's turn with the caption. The media are
        not checked, see :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the item (from 0) and the field: no medium or two, an empty caption, a duplicate id.
    """
    return read_file(sample, path, media, offenders, asked=asked)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders, *, asked: str = "") -> Sample:
    """One row: a medium and its caption."""
    refuse_unread(row, _READ, where, offenders=offenders)
    question: tuple[Part, ...] = (MediaPart(*_medium(row, root, where)), *([TextPart(asked)] if asked else []))
    caption = TextPart(filled(row, "caption", where))
    return Sample(identity(row, where), (Message("user", question), Message("assistant", (caption,))), where)


def _medium(item: Mapping[str, Any], root: Root, where: str) -> tuple[Modality, Any]:
    named = [field for field in NAME_FIELDS if item.get(field) is not None]
    if len(named) != 1:
        raise DataError(
            f"{where}: expected one of {', '.join(NAME_FIELDS)}, got {', '.join(named) if named else 'none of them'}"
        )
    field = named[0]
    return NAME_FIELDS[field], medium(item[field], NAME_FIELDS[field], root, f"{where}, {field}")
