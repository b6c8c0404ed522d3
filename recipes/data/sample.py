"""One sample of a data set, whatever file it came from, and the checks that all formats share."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, made_of, media_of
from inlay.hub.errors import InlayError

__all__ = ["DataError", "Question", "Sample", "check_media", "check_turns", "questions_of"]


class DataError(InlayError):
    """A data file is not what it should be; the text names the file, the item or line, and the field."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation with what is known about it."""

    id: str
    """Unique in its file."""
    messages: tuple[Message, ...]
    """User and assistant in turn, the assistant last; a system message may stand in front."""
    origin: str
    """Where it was read: ``train.json, item 12`` (counted from 0) or ``train.jsonl, line 12`` (counted from 1)."""
    kinds: tuple[str, ...] = ()
    """The type of each question, one an assistant turn; empty when unknown."""
    answers: tuple[tuple[str, ...], ...] = ()
    """What people answered, one tuple an assistant turn; empty when only the reference is known."""
    description: str = ""
    """What the picture shows, as text: what the oracle reads instead of it."""


class Question(NamedTuple):
    """One assistant turn of a sample, as an evaluation asks for it."""

    prompt: tuple[Message, ...]
    """All that was said before, earlier answers included; the last message is the user's."""
    reference: str
    """The assistant's own answer."""
    answers: tuple[str, ...]
    """The answers of people, or the reference alone."""
    kind: str
    """The question's type; empty when unknown."""
    made: tuple[MadePart, ...] = ()
    """What the assistant makes in that turn."""


def questions_of(sample: Sample) -> list[Question]:
    """Every assistant turn as a question of its own, with the conversation before it.

    Example:
        >>> from inlay.adapters.conversation.messages import parse_messages
        >>> turns = [("user", "colour?"), ("assistant", "red"), ("user", "shape?"), ("assistant", "disc")]
        >>> messages = parse_messages([{"role": role, "content": text} for role, text in turns])
        >>> [(len(q.prompt), q.reference, q.kind) for q in questions_of(Sample("7", messages, "", ("colour", "shape")))]
        [(1, 'red', 'colour'), (3, 'disc', 'shape')]
    """
    places = [place for place, message in enumerate(sample.messages) if message.role == "assistant"]
    questions = []
    for turn, place in enumerate(places):
        reference = sample.messages[place].text
        answers = sample.answers[turn] if sample.answers else ()
        kind = sample.kinds[turn] if sample.kinds else ""
        made = made_of([sample.messages[place]])
        questions.append(Question(sample.messages[:place], reference, answers or (reference,), kind, made))
    return questions


def check_turns(messages: Sequence[Message], where: str) -> None:
    """Check that user and assistant alternate, end with an answer, and that none of them is empty.

    Args:
        messages: the conversation.
        where: what to put in front of the error.

    Raises:
        DataError: names the turn (system messages not counted, from 0).
    """
    turns = [message for message in messages if message.role != "system"]
    if any(message.role == "system" for message in messages[1:]):
        raise DataError(f"{where}: a system message is only allowed in front")
    for index, message in enumerate(turns):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            raise DataError(f"{where}, turn {index}: expected the {expected}, got the {message.role}; they take turns")
        if message.role == "assistant" and not message.text.strip() and not made_of([message]):
            raise DataError(f"{where}, turn {index}: the assistant's answer is empty")
        if message.role == "assistant" and media_of([message]):
            raise DataError(f"{where}, turn {index}: what is shown stands in what the user says")
        if message.role == "user" and not message.text.strip() and not media_of([message]):
            raise DataError(f"{where}, turn {index}: the user says nothing")
    if not turns or turns[-1].role != "assistant":
        raise DataError(
            f"{where}: expected an assistant's answer as the last turn; without it there is nothing to learn"
        )


def check_media(samples: Iterable[Sample], root: Path) -> None:
    """See, before training starts, that every medium is a file below `root`; no pixel is decoded.

    Args:
        samples: media that are objects in memory are passed over.
        root: the folder that all files must stay in, symbolic links followed.

    Raises:
        DataError: names the first samples whose file is missing, empty, no regular file, or leads out of the folder.
    """
    home = os.path.realpath(root)
    folders: dict[str, str] = {}
    problems: dict[str, str] = {}
    seen: set[Path] = set()
    for sample in samples:
        for part in media_of(sample.messages):
            if isinstance(part.source, Path) and part.source not in seen:
                seen.add(part.source)
                reason = _problem(part, home, folders)
                if reason:
                    problems[str(part.source)] = f"{sample.origin}: {part.source}: {reason}"
    if problems:
        first = "\n  ".join(list(problems.values())[:5])
        raise DataError(f"{len(problems)} of {len(seen)} media files cannot be used:\n  {first}")


def _problem(part: MediaPart, home: str, folders: dict[str, str]) -> str:
    """Why a file cannot be used. The real path of a folder is asked for once, that of a file only if it is a link."""
    parent, path = os.path.split(part.source)
    if parent not in folders:
        folders[parent] = os.path.realpath(parent)
    real = os.path.join(folders[parent], path)
    try:
        status = os.lstat(real)
        if stat.S_ISLNK(status.st_mode):
            real = os.path.realpath(real)
            status = os.stat(real)
    except (OSError, ValueError):
        return "no such file"
    if os.path.commonpath([home, real]) != home:
        return "lies outside of the folder"
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    return "" if status.st_size else "the file is empty"
