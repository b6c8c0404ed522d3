"""Where the frozen models of a run come from when the user names none."""

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
"""What reads meta responses beside the miniature's language model; a bundle that says what is to be made in words names
no generator."""

SAME = "same"
"""As the source of a Q-Former: the one in the image encoder's own BLIP-2 checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """One source a port: a Hub id, a folder, or a name behind ``inlay-miniature/``."""

    llm: str = f"{MINIATURE}llama"
    """The language model."""
    image: str = f"{MINIATURE}clip"
    """The image encoder."""
    prompt: str | None = None
    """The tokenizer of captions in stage ``represent`` and of projectors that read; None where a system has neither."""
    qformer: str | None = None
    """A frozen Q-Former behind the image encoder: a bundle that holds one, or ``same``; None for none."""
    audio: str | None = None
    """The encoder of sounds; None where a system hears nothing. One ImageBind may serve several senses."""
    video: str | None = None
    """The encoder of clips."""
    audio_scale: bool | None = None
    """ImageBind's fixed factor on its vectors of sounds: on as released, off as in NExT-GPT; None for the former."""
    clips_reach_end: bool | None = None
    """Whether ImageBind's last clip of a sound or a video ends with it; not so in NExT-GPT. None for yes."""
    generate_image: str | None = None
    """The generator of pictures; None where a system draws nothing."""
    generate_audio: str | None = None
    """The generator of sounds."""
    generate_video: str | None = None
    """The generator of clips."""


def miniature_path(source: str) -> Path:
    """The folder of ``inlay-miniature/NAME``.

    Raises:
        MiniatureError: no such model.
    """
    name: Any = source.removeprefix(MINIATURE)
    return backbone_path(name)
