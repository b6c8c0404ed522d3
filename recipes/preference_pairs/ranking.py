"""A pair of the best and the worst scored answer to a question, as a row in TRL's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from inlay.adapters.conversation.messages import Message, TextPart, media_of
from inlay.recipes.data.rows.media_fields import FIELDS
from inlay.recipes.data.rows.sample import DataError, Question, Sample

__all__ = ["Outcome", "Ranked", "pair_row", "ranked"]

Outcome: TypeAlias = Literal["pair", "tie", "equal"]
"""``tie``: all scores are equal; ``equal``: all texts are equal, or all but one are empty."""


@dataclass(frozen=True)
class Ranked:
    """The answers to one question in order of their scores."""

    outcome: Outcome
    best: int
    """Index of the first answer with the highest score."""
    worst: int
    """Index of the first answer with the lowest score."""


def ranked(texts: Sequence[str], scores: Sequence[float]) -> Ranked:
    """The best and the worst answer; empty answers are left out, because they cannot be trained on.

    Example:
        >>> ranked(["red", "blue", "red", ""], [1.0, 0.0, 1.0, -1.0])
        Ranked(outcome='pair', best=0, worst=1)
        >>> ranked(["red", "blue"], [0.0, 0.0]).outcome, ranked(["red", "red"], [1.0, 1.0]).outcome
        ('tie', 'equal')
    """
    said = [place for place, text in enumerate(texts) if text.strip()]
    if len({texts[place] for place in said}) < 2:
        return Ranked("equal", 0, 0)
    best = max(said, key=lambda place: scores[place])
    worst = min(said, key=lambda place: scores[place])
    if scores[best] == scores[worst]:
        return Ranked("tie", best, worst)
    return Ranked("equal" if texts[best] == texts[worst] else "pair", best, worst)


def pair_row(
    question: Question, sample: Sample, chosen: str, rejected: str, media: Path, **facts: float | str
) -> dict[str, Any]:
    """One row: media files, prompt, both answers, and further facts.

    Args:
        question: the question.
        sample: its sample, for errors.
        chosen: the better answer.
        rejected: the worse answer.
        media: folder of the media; the row's paths are relative to it.
        facts: further fields.

    Raises:
        DataError: a medium is not a file below the folder.
    """
    root = media.absolute()
    files: dict[str, list[str]] = {}
    for part in media_of(question.prompt):
        path = Path(part.source).absolute() if isinstance(part.source, (str, Path)) else None
        if path is None or not path.is_relative_to(root):
            raise DataError(f"{sample.origin}: expected a media file below {media}, got {part.source}; give --images")
        files.setdefault(FIELDS[part.modality][1], []).append(path.relative_to(root).as_posix())
    return {
        "id": _name(question, sample),
        **files,
        "prompt": [_plain(message) for message in question.prompt],
        "chosen": [_answer(chosen)],
        "rejected": [_answer(rejected)],
        **facts,
    }


def _name(question: Question, sample: Sample) -> str:
    """The sample's id; in a dialogue with several answers also the number of this one, since ids are unique."""
    answers = sum(turn.role == "assistant" for turn in sample.messages)
    place = sum(turn.role == "user" for turn in question.prompt)
    return f"{sample.id}/{place}" if answers > 1 else sample.id


def _plain(message: Message) -> dict[str, Any]:
    parts = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": part.modality}
        for part in message.content
    ]
    return {"role": message.role, "content": parts}


def _answer(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}
