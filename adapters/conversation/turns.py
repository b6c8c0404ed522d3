"""The order of turns that every template requires, and the parts that each role may have."""

from __future__ import annotations

from collections.abc import Sequence

from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import LayoutError

__all__ = ["check_turns"]

_PARTS: dict[str, tuple[type, ...]] = {
    "system": (TextPart,),
    "user": (TextPart, MediaPart),
    "assistant": (TextPart, MadePart),
}
"""Role -> the parts of its messages: the user's media are inputs, the assistant's are generated."""


def check_turns(messages: Sequence[Message], *, generation: bool) -> tuple[Message, ...]:
    """Check a conversation and return it without its system message.

    Args:
        messages: an optional system message, then user and assistant alternately.
        generation: the last message must be the user's; otherwise the assistant's. An assistant's turn may be empty.

    Raises:
        LayoutError: no user turn, turns out of order, a system message after others, or a part in the wrong turn.
    """
    turns = tuple(message for message in messages if message.role != "system")
    for index, message in enumerate(turns):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            raise LayoutError(
                f"turn {index}: expected the {expected}, got {message.role} (user and assistant alternate)"
            )
    if any(message.role == "system" for message in messages[1:]):
        raise LayoutError("a system message is only allowed before all turns; move it to the start")
    if not turns:
        raise LayoutError("expected at least one user turn, got none")
    if generation != (turns[-1].role == "user"):
        wanted = "the user's question" if generation else "an assistant's answer"
        raise LayoutError(f"expected {wanted} as the last turn, got one of the {turns[-1].role}")
    for message in messages:
        for part in message.content:
            if not isinstance(part, _PARTS[message.role]):
                wanted = " or ".join(kind.__name__ for kind in _PARTS[message.role])
                raise LayoutError(
                    f"a message of the {message.role}: expected {wanted}, got {type(part).__name__} (the user's "
                    "media are inputs, the assistant's are generated)"
                )
    return turns
