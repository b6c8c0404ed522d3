"""Sources of the frozen models, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.recipes.miniature import backbone_path

__all__ = ["MINIATURE", "MINIATURE_GENERATORS", "SAME", "Sources", "miniature_path"]

MINIATURE = "inlay-miniature/"
"""Sources with this prefix are the models that ship with the package."""

MINIATURE_GENERATORS = {
    "generate_image": f"{MINIATURE}sd",
    "generate_audio": f"{MINIATURE}audioldm",
    "generate_video": f"{MINIATURE}video",
}
"""Generators for meta responses on the miniature: a bundle with a meta-response layout does not name generators."""

SAME = "same"
"""Source of a Q-Former: the one in the image encoder's own BLIP-2 checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """One source per port: a Hub id, a folder, or ``inlay-miniature/NAME``."""

    llm: str = f"{MINIATURE}llama"
    """The language model."""
    image: str = f"{MINIATURE}clip"
    """The image encoder; empty for none."""
    prompt: str | None = None
    """The tokenizer of stage ``represent`` and of instruction-aware projectors; None if a system has neither."""
    qformer: str | None = None
    """A frozen Q-Former after the image encoder: a bundle that contains one, or ``same``; None for none."""
    audio: str | None = None
    """The audio encoder; None for none. One ImageBind may encode several modalities."""
    video: str | None = None
    """The video encoder; None for none."""
    features: str | None = None
    """Sizes of precomputed features in the data, such as ``64x16``; None for none."""
    audio_scale: bool | None = None
    """Whether ImageBind's fixed factor on audio features is applied: yes as released, no in NExT-GPT; None for yes."""
    clips_reach_end: bool | None = None
    """Whether ImageBind's last clip ends at the end of the sound or video; no in NExT-GPT. None for yes."""
    generate_image: str | None = None
    """The image generator; None for none."""
    generate_audio: str | None = None
    """The audio generator; None for none."""
    generate_video: str | None = None
    """The video generator; None for none."""


def miniature_path(source: str) -> Path:
    """The folder of ``inlay-miniature/NAME``.

    Raises:
        MiniatureError: there is no such model.
    """
    name: Any = source.removeprefix(MINIATURE)
    return backbone_path(name)
