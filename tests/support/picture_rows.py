"""Samples with one random picture each."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.records import described
from inlay.recipes.data.rows.sample import Sample

__all__ = ["caption_rows", "circle_rows"]


def circle_rows(
    image_of: Any, folder: Path, answers: Iterable[str], *, without_picture: Collection[int] = ()
) -> list[Sample]:
    """A question about a circle for each answer; some rows, named by their numbers, have no picture."""
    rows = []
    for index, answer in enumerate(answers):
        path = folder / f"{index}.png"
        image_of(index).save(path)
        shown = () if index in without_picture else (MediaPart("image", path),)
        user = Message("user", (*shown, TextPart(f"what colour is circle {index}?")))
        rows.append(Sample(f"s{index}", (user, Message("assistant", (TextPart(answer),))), "rows"))
    return rows


def caption_rows(image_of: Any, folder: Path, captions: Iterable[str]) -> list[Sample]:
    """A picture for each caption."""
    rows = []
    for index, caption in enumerate(captions):
        path = folder / f"{index}.png"
        image_of(index).save(path)
        rows.append(described(f"s{index}", path, "", caption, "rows"))
    return rows
