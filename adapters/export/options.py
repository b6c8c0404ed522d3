"""Options of the export targets; each class is one target's, and checks its values when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inlay.adapters.export.target import ExportError, option
from inlay.hub.format.peft_folder import MAX_RANK
from inlay.hub.safety.text import shown

__all__ = ["GgufOptions", "PeftOptions"]


@dataclass(frozen=True)
class GgufOptions:
    """Options of ``gguf``."""

    base: Literal["f32", "f16", "q8_0"] | None = option(None, "write the language model too, in f32, f16 or q8_0")
    mmproj: bool = option(False, "write the image encoder and the projector, for llama.cpp's own programs")
    unsafe_clip: bool = option(False, "--mmproj for a CLIP encoder, whose features llama.cpp computes incorrectly")


@dataclass(frozen=True)
class PeftOptions:
    """Options of ``peft``."""

    rank: int | None = option(None, "another rank of the LoRA, by singular values; its own if not given")

    def __post_init__(self) -> None:
        if self.rank is not None and (type(self.rank) is not int or not 1 <= self.rank <= MAX_RANK):
            raise ExportError(f"rank: expected an integer from 1 to {MAX_RANK}, got {shown(self.rank)}")
