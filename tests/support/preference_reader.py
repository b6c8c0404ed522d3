"""A reader of TRL's preference rows, with SymMPO's second picture, and rows about the pictures of the small world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inlay.recipes.data.formats.jsonl import sample as message_row
from inlay.recipes.data.formats.read_file import read_file
from inlay.recipes.data.formats.registry import register_format
from inlay.recipes.data.rows.sample import Sample

__all__ = ["register", "write_pairs"]


def _row(row: Mapping[str, Any], root: Any, where: str, offenders: Any) -> Sample:
    def conversation(images: list[str], answer: list[Any]) -> Sample:
        left = list(images)
        turns = [
            {
                "role": turn["role"],
                "content": [
                    {"type": "image", "path": left.pop(0)} if part["type"] == "image" else part
                    for part in turn["content"]
                ],
            }
            for turn in row["prompt"]
        ]
        return message_row({"id": row["id"], "messages": [*turns, *answer]}, root, where, offenders)

    chosen, rejected = (conversation(row["images"], row[name]) for name in ("chosen", "rejected"))
    similar = conversation([row["image_2"]], row["y2"]).messages if "image_2" in row else ()
    return replace(chosen, rejected=rejected.messages, similar=similar)


def _read(path: Path, images: Any, *, offenders: Any) -> Any:
    return read_file(_row, path, images, offenders)


def register() -> None:
    """Register the reader; it is tried before those of the package."""
    register_format("test_preferences", _read, recognise=lambda first, _: "chosen" in first and "rejected" in first)


register()  # also for ``--import``


def write_pairs(path: Path, captions: Path, *, count: int = 8) -> Path:
    """Pairs from captioned pictures: the caption is chosen, that of the next picture rejected; SymMPO's fields too."""
    rows = [row for row in json.loads(captions.read_text()) if row["types"] == ["caption"]]
    wanted = rows[:count]
    with path.open("w") as file:
        for here, there in zip(wanted, [*wanted[1:], wanted[0]], strict=True):
            asked = [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]
            answers = [
                [{"role": "assistant", "content": [{"type": "text", "text": row["description"]}]}]
                for row in (here, there)
            ]
            row = {"id": here["id"], "images": [here["image"]], "prompt": [{"role": "user", "content": asked}]}
            row |= {"chosen": answers[0], "rejected": answers[1], "image_2": there["image"], "y2": answers[1]}
            file.write(json.dumps(row) + "\n")
    return path
