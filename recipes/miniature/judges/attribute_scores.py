"""Whether a generator made what was asked for: the judge's reading beside the value, attribute by attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.recipes.miniature.judges.signal_analysis import hear, see, watch
from inlay.recipes.miniature.media.specs import Drawing, Movement, Sensed, Tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inlay.adapters.media.video import Video

ATTRIBUTES: dict[type, tuple[str, ...]] = {
    Drawing: ("shape", "colour", "size"),
    Tone: ("pitch", "rhythm", "timbre"),
    Movement: ("direction", "shape", "colour"),
}
"""What is judged of each kind."""
ASKED: dict[type, tuple[str, ...]] = {
    Drawing: ("shape", "colour"),
    Tone: ("pitch", "rhythm"),
    Movement: ("direction",),
}
"""What must be right together for a generator to count as right."""


def mark(value: Sensed, medium: Image.Image | Sound | Video) -> dict[str, bool]:
    """Which attributes of a medium are as asked for; none where it shows nothing.

    Args:
        value: What was asked for.
        medium: A picture for a drawing, a sound for a tone, a clip for a movement.

    Returns:
        Attribute -> right, and `"right"`: whether all that counts is.
    """
    read: Any
    if isinstance(medium, Image.Image):
        read = see(medium)
    else:
        read = hear(medium) if isinstance(medium, Sound) else watch(medium)
    kind = type(value)
    found = {name: read is not None and getattr(read, name) == getattr(value, name) for name in ATTRIBUTES[kind]}
    return {**found, "right": all(found[name] for name in ASKED[kind])}


def marks(values: Sequence[Sensed], media: Sequence[Image.Image | Sound | Video]) -> dict[str, float]:
    """The share that is right, by attribute and altogether."""
    rows = [mark(value, medium) for value, medium in zip(values, media, strict=True)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
