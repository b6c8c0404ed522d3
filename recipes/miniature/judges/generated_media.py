"""Whether a medium shows what a caption of the miniature says: the judge of what adapters make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from inlay.adapters.media.audio import Sound
from inlay.recipes.miniature.judges.attribute_scores import ATTRIBUTES, mark
from inlay.recipes.miniature.media.captions import read_sensed
from inlay.recipes.miniature.media.specs import Drawing, Movement, Tone

if TYPE_CHECKING:
    from inlay.adapters.media.video import Video

__all__ = ["judge_made"]


def judge_made(caption: str, medium: Image.Image | Sound | Video) -> dict[str, bool] | None:
    """Judge a medium.

    Args:
        caption: what was asked for; all attributes are named.
        medium: what was made; of another kind than the caption speaks of, it is wrong in everything.

    Returns:
        Attribute -> right, and ``right`` for those that count together; None for a caption of anything else.
    """
    value = read_sensed(caption)
    if value is None:
        return None
    kind = Drawing if isinstance(medium, Image.Image) else Tone if isinstance(medium, Sound) else Movement
    if not isinstance(value, kind):
        return {**dict.fromkeys(ATTRIBUTES[type(value)], False), "right": False}
    return mark(value, medium)
