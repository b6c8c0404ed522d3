"""Signal tokens in a conversation: the assistant's media as text, and their positions in a batch.

A medium in the assistant's turn is represented by the consecutive signal tokens of its modality. Templates do not
handle signal tokens: they lay out a mark, which is replaced by the tokens afterwards. So a conversation may contain
media that were generated earlier, in any template. A mark is a number between two characters of Unicode's private use
area; a text of any role that contains a mark is refused, so that no text can be read as signal tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.conversation.segments import MARK_CLOSE, MARK_OPEN, LayoutError, Segment, Text
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError

__all__ = ["SignalError", "Signals", "gather", "locate", "mark", "unmark"]

_MARK = re.compile(f"{MARK_OPEN}([0-9]+){MARK_CLOSE}")
_RESERVED = "a number between the characters U+E010 and U+E011, which is reserved for media; remove these characters"


class SignalError(InlayError):
    """Signal tokens are incomplete or out of order."""


@dataclass(frozen=True)
class Signals:
    """The signal tokens of an attached adapter."""

    strings: Mapping[Modality, tuple[str, ...]] = field(default_factory=dict)
    """Modality -> its signal tokens as strings."""
    ids: Mapping[Modality, tuple[int, ...]] = field(default_factory=dict)
    """Modality -> its signal tokens as ids of the backbone's tokenizer."""

    @classmethod
    def of(cls, config: TokensConfig, ids: Sequence[int]) -> Signals:
        """The signal tokens among an adapter's rows, from strings and ids in the order of the rows."""
        place = dict(zip(config.strings, ids, strict=True))
        return cls(config.signals, {name: tuple(place[text] for text in own) for name, own in config.signals.items()})

    def text(self, modality: Modality) -> str:
        """The tokens of one medium as text.

        Raises:
            LayoutError: this adapter has no signal tokens for the modality.
        """
        if modality not in self.strings:
            known = ", ".join(self.strings) or "text only"
            raise LayoutError(f"the assistant's turn has a medium of type {modality!r}; this model generates: {known}")
        return "".join(self.strings[modality])


def mark(messages: Sequence[Message]) -> list[Message]:
    """Replace the assistant's media by marks in its text, so that a template keeps their positions.

    Raises:
        LayoutError: a text of any role contains a mark.
    """
    marked: list[Message] = []
    count = 0
    for message in messages:
        parts: list[TextPart | object] = []
        for part in message.content:
            if isinstance(part, TextPart) and _MARK.search(part.text):
                raise LayoutError(f"a text of the role {message.role!r} contains {_RESERVED}")
            if isinstance(part, MadePart):
                parts.append(TextPart(f"{MARK_OPEN}{count}{MARK_CLOSE}"))
                count += 1
            else:
                parts.append(part)
        marked.append(replace(message, content=tuple(parts)))  # type: ignore[arg-type]
    return marked


def unmark(
    laid: Sequence[Segment], made: Sequence[MadePart], signals: Signals
) -> tuple[list[Segment], tuple[MadePart, ...]]:
    """Replace marks by signal tokens.

    Args:
        laid: segments of marked messages.
        made: the assistant's media in the order of their marks.
        signals: the adapter's signal tokens.

    Returns:
        The segments, and the media whose marks the template kept, in reading order.

    Raises:
        LayoutError: the adapter has no signal tokens for a medium, or a text of the layout contains a mark.
    """
    segments: list[Segment] = []
    kept: list[MadePart] = []
    expected = {str(index) for index in range(len(made))}
    for segment in laid:
        if not isinstance(segment, Text) or not _MARK.search(segment.text):
            segments.append(segment)
            continue
        cursor = 0
        for found in _MARK.finditer(segment.text):
            if found[1] not in expected:
                raise LayoutError(f"a text of the layout contains {_RESERVED}")
            expected.remove(found[1])
            part = made[int(found[1])]
            segments.append(
                replace(segment, text=segment.text[cursor : found.start()], apart=segment.apart and not cursor)
            )
            segments.append(Text(signals.text(part.modality), trained=segment.trained, literal=True))
            kept.append(part)
            cursor = found.end()
        segments.append(replace(segment, text=segment.text[cursor:], apart=False))
    return [segment for segment in segments if not isinstance(segment, Text) or segment.text], tuple(kept)


def locate(ids: Tensor, signal: Sequence[int]) -> Tensor:
    """Positions of the media of one modality.

    Args:
        ids: ``[B, T]``.
        signal: the ids of its signal tokens, in order.

    Returns:
        ``[n, 2]``: row and first position of each, in reading order.

    Raises:
        SignalError: signal tokens are incomplete or in another order.

    Example:
        >>> locate(torch.tensor([[1, 7, 8, 2], [7, 8, 7, 8]]), (7, 8)).tolist()
        [[0, 1], [1, 0], [1, 2]]
    """
    wanted = torch.tensor(list(signal), device=ids.device)
    found = (ids == wanted[0]).nonzero()
    offsets = torch.arange(len(wanted), device=ids.device)
    places = (found[:, 1:] + offsets).clamp(max=ids.shape[1] - 1)
    whole = ids[found[:, :1], places] == wanted
    if not bool(whole.all()) or int(torch.isin(ids, wanted).sum()) != whole.numel():
        raise SignalError(
            f"expected all {len(wanted)} signal tokens of a medium one after the other (ids {signal[0]}, ...), got "
            f"{int(torch.isin(ids, wanted).sum())} in another order"
        )
    return found


def gather(states: Tensor, places: Tensor, count: int) -> Tensor:
    """Gather the states at signal tokens: ``[B, T, width]`` and ``[n, 2]`` -> ``[n, count, width]``."""
    offsets = places[:, 1:] + torch.arange(count, device=places.device)
    return states[places[:, :1], offsets]
