"""Renders a specification as a medium: a picture, a sound or a clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inlay.recipes.miniature.media.clips import draw_shape, render_clip
from inlay.recipes.miniature.media.sounds import render_sound
from inlay.recipes.miniature.media.specs import Drawing, MediumSpec, Movement, Tone

if TYPE_CHECKING:
    from random import Random

    from PIL import Image

    from inlay.adapters.media.audio import Sound
    from inlay.adapters.media.video import Video

MODALITIES: dict[type[MediumSpec], str] = {Drawing: "image", Tone: "audio", Movement: "video"}
"""The modality of each kind of specification."""


def render_medium(spec: MediumSpec, rng: Random) -> Image.Image | Sound | Video:
    """Render a specification; `rng` is the source of the jitter."""
    if isinstance(spec, Drawing):
        return draw_shape(spec, rng)
    return render_sound(spec, rng) if isinstance(spec, Tone) else render_clip(spec, rng)
