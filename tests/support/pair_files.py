"""Files of preference rows about the pictures of the small world: TRL's pairs, and SymMPO's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["write_pairs"]

QUESTION = "Describe the picture."


def write_pairs(path: Path, captions: Path, *, count: int = 8, symmpo: bool = False) -> Path:
    """Pairs from captioned pictures: the caption is chosen, that of the next picture rejected."""
    rows = [row for row in json.loads(captions.read_text()) if row["types"] == ["caption"]]
    wanted = rows[:count]
    with path.open("w") as file:
        for here, there in zip(wanted, [*wanted[1:], wanted[0]], strict=True):
            row = _symmpo(here, there) if symmpo else _trl(here, there)
            file.write(json.dumps({"id": here["id"], **row}) + "\n")
    return path


def _trl(here: Any, there: Any) -> dict[str, Any]:
    asked = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    chosen, rejected = (
        [{"role": "assistant", "content": [{"type": "text", "text": row["description"]}]}] for row in (here, there)
    )
    prompt = [{"role": "user", "content": asked}]
    return {"images": [here["image"]], "prompt": prompt, "chosen": chosen, "rejected": rejected}


def _symmpo(here: Any, there: Any) -> dict[str, Any]:
    answers = {"w": here["description"], "l": there["description"], "y2": there["description"]}
    return {"image_1": here["image"], "image_2": there["image"], "question": QUESTION, **answers}
