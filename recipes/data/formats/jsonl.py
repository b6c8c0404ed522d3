"""Conversations of messages, as transformers' chat templates, TRL, OpenAI, ms-swift and LLaMA-Factory write them.

A row is ``{"messages": [{"role", "content"}, ...]}`` with the optional fields ``id``, ``images``, ``videos``,
``audios``, ``system``, ``types``, ``answers`` and ``description``. Content is text or a list of parts, see
:mod:`~inlay.recipes.data.formats.chat.parts`. A part ``{"type": "image"}`` takes the next entry of ``images``
(``image`` is the same field), or has its own ``path``. Media that no part takes are placed at the markers ``<image>``
in the user's texts, as in ms-swift; without markers, in front of the first turn, as in TRL. In a row without such
media a marker is text.

Media that the assistant generates are parts of its turn, ``{"type": "audio", "caption": "rain"}``, optionally with the
``path`` of the target medium and with an ``embedding``, an ``.npy`` file of the caption's embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inlay.recipes.data.formats.chat.conversation import conversation
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.rows.fields import needed
from inlay.recipes.data.rows.media_values import Root
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample

__all__ = ["read_messages_jsonl", "sample"]


def read_messages_jsonl(path: str | Path, images: Root, *, offenders: Offenders | None = None) -> Sequence[Sample]:
    """Read conversations; empty lines are skipped.

    Args:
        path: the file.
        images: the folder of the media; None if there are none.
        offenders: collects invalid lines; if not given, the first one raises an error.

    Returns:
        The samples in the order of the file; the paths of media are absolute. The media are not checked, see
        :func:`~inlay.recipes.data.rows.checks.media_check.check_media`.

    Raises:
        DataError: with the file, the line (from 1) and the field.
    """
    return read_file(sample, path, images, offenders)


def sample(row: Mapping[str, Any], root: Root, where: str, offenders: Offenders) -> Sample:
    """One row."""
    if row.get("objects"):
        raise DataError(f"{where}, objects: boxes of objects (ms-swift's grounding) are not read; leave the row out")
    return conversation(
        row, needed(row, "messages", where), root, where, offenders, field="messages", read=("messages",)
    )
