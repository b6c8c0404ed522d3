"""Scores generated media against their captions by attribute; the judge of generation on the miniature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.recipes.miniature.judges.signal_analysis import read_clip, read_picture, read_sound
from inlay.recipes.miniature.media.captions import read_spec
from inlay.recipes.miniature.media.specs import Drawing, MediumSpec, Movement, Tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inlay.adapters.media.video import Video

__all__ = ["ATTRIBUTES", "REQUIRED", "accuracies", "judge_generated", "score_attributes"]

ATTRIBUTES: dict[type, tuple[str, ...]] = {
    Drawing: ("shape", "colour", "size"),
    Tone: ("pitch", "rhythm", "timbre"),
    Movement: ("direction", "shape", "colour"),
}
"""The attributes that are scored, by kind."""
REQUIRED: dict[type, tuple[str, ...]] = {
    Drawing: ("shape", "colour"),
    Tone: ("pitch", "rhythm"),
    Movement: ("direction",),
}
"""The attributes that must all be right for a medium to count as right."""


def judge_generated(caption: str, medium: Image.Image | Sound | Video) -> dict[str, bool] | None:
    """Score a generated medium against the caption that it was generated from.

    Args:
        caption: names every attribute of a drawing, a sound or a clip.
        medium: the generated medium. If it is of another kind than the caption, every attribute is wrong.

    Returns:
        Attribute -> right, and ``right`` for the required attributes together; None if the caption names no drawing,
        sound or clip of the miniature.
    """
    spec = read_spec(caption)
    if spec is None:
        return None
    kind = Drawing if isinstance(medium, Image.Image) else Tone if isinstance(medium, Sound) else Movement
    if not isinstance(spec, kind):
        return {**dict.fromkeys(ATTRIBUTES[type(spec)], False), "right": False}
    return score_attributes(spec, medium)


def score_attributes(spec: MediumSpec, medium: Image.Image | Sound | Video) -> dict[str, bool]:
    """Compare the attributes of a medium with its specification; all are wrong if the medium cannot be read.

    Args:
        spec: the requested drawing, tone or movement.
        medium: a picture for a drawing, a sound for a tone, a clip for a movement.

    Returns:
        Attribute -> right, and ``right`` for the required attributes together.
    """
    read: Any
    if isinstance(medium, Image.Image):
        read = read_picture(medium)
    else:
        read = read_sound(medium) if isinstance(medium, Sound) else read_clip(medium)
    kind = type(spec)
    found = {name: read is not None and getattr(read, name) == getattr(spec, name) for name in ATTRIBUTES[kind]}
    return {**found, "right": all(found[name] for name in REQUIRED[kind])}


def accuracies(specs: Sequence[MediumSpec], media: Sequence[Image.Image | Sound | Video]) -> dict[str, float]:
    """The share of right media, by attribute and for the required attributes together (``right``)."""
    rows = [score_attributes(spec, medium) for spec, medium in zip(specs, media, strict=True)]
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
