"""One sample of a data set, independent of its file format, and the checks that all formats share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inlay.adapters.conversation.messages import MadePart, Message, TextPart, made_of
from inlay.hub.errors import InlayError

__all__ = ["DataError", "Question", "Sample", "check_turns", "questions_of"]


class DataError(InlayError):
    """A data file is not in the expected form; the text names the file, the item or line, and the field."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation and its annotations."""

    id: str
    """Unique in its file."""
    messages: tuple[Message, ...]
    """Alternating user and assistant, the assistant last; optionally a system message first."""
    origin: str
    """Its place: ``train.json, item 12`` (counted from 0) or ``train.jsonl, line 12`` (counted from 1)."""
    kinds: tuple[str, ...] = ()
    """Question types, one for each assistant turn; empty if unknown."""
    answers: tuple[tuple[str, ...], ...] = ()
    """Human answers, one tuple for each assistant turn; empty if only the reference is known."""
    description: str = ""
    """The picture as text, which the oracle reads instead of the picture."""
    rejected: tuple[Message, ...] = ()
    """Preference data: the same conversation with a worse last answer, or with media that the answer does not fit."""
    similar: tuple[Message, ...] = ()
    """Preference data: the same question about a similar medium, with the right answer to that one."""
    desirable: bool | None = None
    """Preference data with single answers: whether the last answer is a good one; None for other data."""


class Question(NamedTuple):
    """One assistant turn of a sample as an evaluation question."""

    prompt: tuple[Message, ...]
    """The conversation before the answer, earlier answers included; the last message is the user's."""
    reference: str
    """The assistant's own answer."""
    answers: tuple[str, ...]
    """Human answers, or the reference alone."""
    kind: str
    """The question's type; empty if unknown."""
    made: tuple[MadePart, ...] = ()
    """Media that the assistant generates in that turn."""


def questions_of(sample: Sample) -> list[Question]:
    """Every assistant turn as a separate question, with the conversation before it; empty answers are left out.

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
        if not (reference.strip() or made or any(answer.strip() for answer in answers)):
            continue
        questions.append(Question(sample.messages[:place], reference, answers or (reference,), kind, made))
    return questions


def check_turns(messages: Sequence[Message], where: str) -> None:
    """Check that user and assistant alternate, the last turn is an answer, and not all answers are empty.

    Args:
        messages: the conversation.
        where: the place, for errors.

    Raises:
        DataError: with the turn (from 0, system messages not counted).
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    answered, expected = False, "assistant"
    for index, message in enumerate(turns):
        expected = "assistant" if expected == "user" else "user"
        if message.role != expected:
            if any(later.role == "system" for later in turns):
                raise DataError(f"{where}: a system message is only allowed in front")
            raise DataError(
                f"{where}, turn {index}: expected the {expected}, got the {message.role}; user and assistant alternate"
            )
        said = media = made = False  # in one pass, because all rows of a large file are checked
        for part in message.content:
            if type(part) is TextPart:
                said = said or bool(part.text and not part.text.isspace())
            elif isinstance(part, MadePart):
                made = True
            else:
                media = True
        if expected == "assistant" and media:
            raise DataError(f"{where}, turn {index}: input media belong to the user's turns")
        if expected == "user" and not said and not media:
            raise DataError(f"{where}, turn {index}: the user's turn is empty")
        answered = answered or (expected == "assistant" and (said or made))
    if not turns or turns[-1].role != "assistant":
        raise DataError(f"{where}: expected an answer of the assistant as the last turn")
    if not answered:
        raise DataError(f"{where}: all answers of the assistant are empty")
