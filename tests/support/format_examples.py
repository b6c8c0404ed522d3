"""The example file of each format, and samples written as short lines.

``[image 1.png]`` is a medium, ``{image: a disc}`` one that the assistant makes; ``|`` separates the parts of a turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, Part
from inlay.adapters.media.sources import MediaBytes
from inlay.recipes.data.rows.sample import Sample

__all__ = ["EXAMPLES", "IMAGES", "example", "spoilt", "written"]

EXAMPLES = Path(__file__).parents[1] / "recipes" / "data" / "formats" / "examples"
IMAGES = Path("/images")


def example(name: str) -> Path:
    [path] = EXAMPLES.glob(f"{name}.json*")
    return path


def written(sample: Sample) -> list[str]:
    """Turns, then the last turns of preference data, answers and kinds."""
    turns = _turns(sample.messages)
    for name, messages in (("rejected", sample.rejected), ("similar", sample.similar)):
        if messages:
            same = messages[:-1] == sample.messages[:-1]
            turns += [f"{name} {turn}" for turn in _turns(messages[-1:] if same else messages)]
    if sample.desirable is not None:
        turns.append("desirable" if sample.desirable else "undesirable")
    answers = [f"answers: {', '.join(own)}" for own in sample.answers]
    return turns + answers + [f"kind: {kind}" for kind in sample.kinds]


def spoilt(folder: Path, name: str, number: int, spoil: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of an example with one row changed."""
    text = example(name).read_text(encoding="utf-8")
    lines = not text.startswith("[")
    rows = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    spoil(rows[number])
    path = folder / ("a.jsonl" if lines else "a.json")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows))
    return path


def _turns(messages: Iterable[Message]) -> list[str]:
    return [f"{message.role}: {'|'.join(map(_part, message.content))}" for message in messages]


def _part(value: Part) -> str:
    if isinstance(value, MediaPart):
        source = value.source
        name = f"{len(source.data)} bytes" if isinstance(source, MediaBytes) else source.relative_to(IMAGES)
        return f"[{value.modality} {name}]"
    return f"{{{value.modality}: {value.caption}}}" if isinstance(value, MadePart) else value.text
