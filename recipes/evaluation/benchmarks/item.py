"""One question of a benchmark. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inlay.adapters.conversation.messages import Message

__all__ = ["Item", "limited"]


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark."""

    name: str
    """Unique in the benchmark."""
    prompt: tuple[Message, ...]
    """The conversation to answer: one turn of the user."""
    gold: Any = None
    """The values that the scorer needs: the right answer, references, ids."""
    part: str = ""
    """The subset, such as POPE's ``random`` or a category of MME."""
    group: str = ""
    """Items that are scored together, such as all rotations of a question of MMBench; the item alone if empty."""
    cluster: str = ""
    """Items that the bootstrap draws together, such as all questions about a picture; the group if empty."""


def limited(items: Sequence[Item], limit: int | None) -> list[Item]:
    """The first ``limit`` groups of each part, with all items of a group; all items without a limit.

    Example:
        >>> items = [Item(f"{part}{n}", (), part=part) for part in "ab" for n in range(3)]
        >>> [item.name for item in limited(items, 2)]
        ['a0', 'a1', 'b0', 'b1']
    """
    if limit is None:
        return list(items)
    kept: dict[str, set[str]] = {}
    chosen = []
    for item in items:
        groups, group = kept.setdefault(item.part, set()), item.group or item.name
        if group in groups or len(groups) < limit:
            groups.add(group)
            chosen.append(item)
    return chosen
