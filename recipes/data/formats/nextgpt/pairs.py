"""NExT-GPT's captioned media (Wu et al., 2023, https://arxiv.org/abs/2309.05519): pictures, sounds and clips.

One JSON list; an item is ``{"caption": ..., "image_name" | "audio_name" | "video_name": file}``, optionally with an
``id``. Stage one trains from the medium to the caption, stage two from the caption to the medium, see
:func:`~inlay.recipes.data.preparation.reverse.reversed_pairs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, Part, TextPart
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.data.rows.fields import identity, image_path, text
from inlay.recipes.data.rows.media_fields import refuse_unread
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.records import filled, read_each
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["NAME_FIELDS", "read_nextgpt_pairs"]

NAME_FIELDS: dict[str, Modality] = {f"{modality}_name": modality for modality in GENERATED}
"""Field -> modality of the medium that it names."""

_READ = ("id", "caption", *NAME_FIELDS)


def read_nextgpt_pairs(
    path: str | Path, media: str | Path | None, *, asked: str = "", offenders: Offenders | None = None
) -> list[Sample]:
    """Read the file; a medium with several captions has several items.

    Args:
        path: a JSON list, or JSON lines.
        media: the folder of the media.
        asked: the user's text beside the medium; may be empty.
        offenders: collects invalid rows; if not given, the first one raises an error.

    Returns:
        Samples in the order of the file, user's turn with the medium, assistant's turn with the caption. The media are
        not checked, see :func:`~inlay.recipes.data.rows.media_check.check_media`.

    Raises:
        DataError: with the file, the item (from 0) and the field: no medium or two, an empty caption, a duplicate id.
    """
    root = None if media is None else Path(media).absolute()

    def sample(item: Mapping[str, Any], where: str) -> Sample:
        refuse_unread(item, _READ, where)
        question: tuple[Part, ...] = (MediaPart(*_medium(item, root, where)), *([TextPart(asked)] if asked else []))
        caption = TextPart(filled(item, "caption", where))
        return Sample(identity(item, where), (Message("user", question), Message("assistant", (caption,))), where)

    return read_each(Path(path), sample, offenders)


def _medium(item: Mapping[str, Any], root: Path | None, where: str) -> tuple[Modality, Path]:
    named = [field for field in NAME_FIELDS if field in item]
    if len(named) != 1:
        raise DataError(
            f"{where}: expected one of {', '.join(NAME_FIELDS)}, got {', '.join(named) if named else 'none of them'}"
        )
    field = named[0]
    return NAME_FIELDS[field], image_path(text(item[field], f"{where}, {field}"), root, f"{where}, {field}")
