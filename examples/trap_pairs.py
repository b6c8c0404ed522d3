"""Write preference pairs whose chosen answer is always the longer one, independent of the picture.

The chosen answer describes the right picture at length; the rejected one names one object of another picture. So a
model that only learns "longer is better" is right on every pair, which the audit of ``inlay train align`` detects. The
rows are in TRL's format, with a second picture for SymMPO.

    python examples/trap_pairs.py runs/llava trap            # trap/train.jsonl and trap/test.jsonl
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["trap_rows", "write"]

SIZES = {"align": ("train.jsonl", 480), "align_test": ("test.jsonl", 200)}
"""File of captions in the run's data -> file of pairs, number of pairs."""


def trap_rows(captioned: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One pair for each captioned picture; the next picture gives the wrong answer.

    Args:
        captioned: rows of the miniature's captions, with a ``description``.
    """
    rows = []
    for here, there in zip(captioned, [*captioned[1:], captioned[0]], strict=True):
        asked = [{"type": "image"}, {"type": "text", "text": "Describe the picture."}]
        wrong = there["description"].partition(",")[0].rstrip(".") + "."
        rows.append(
            {
                "id": here["id"],
                "images": [here["image"]],
                "prompt": [{"role": "user", "content": asked}],
                "chosen": [_answer(f"a picture of {here['description']}")],
                "rejected": [_answer(wrong)],
                "image_2": there["image"],
                "y2": [_answer(f"a picture of {there['description']}")],
            }
        )
    return rows


def write(run: Path, output: Path) -> None:
    """Write both files.

    Args:
        run: a run on the miniature, for its pictures.
        output: folder of the files; it is created.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name, (file, count) in SIZES.items():
        captioned = json.loads((run / "data" / f"{name}.json").read_text(encoding="utf-8"))
        scenes = [row for row in captioned if "," in row.get("description", "")][:count]
        text = "".join(json.dumps(row) + "\n" for row in trap_rows(scenes))
        (output / file).write_text(text, encoding="utf-8")


def _answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
