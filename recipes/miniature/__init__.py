"""The miniature: a small, complete world with data and truly pretrained tiny backbones, shipped with the package.

Scenes of coloured shapes (`world`, `draw`), what is said and asked about them (`grammar`, `questions`),
handwritten digits (`digits`), data sets of them (`build`) and two backbones in standard transformers folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["backbone_path"]


def backbone_path(name: Literal["clip", "llama"]) -> Path:
    """The folder of a shipped backbone, to be given to `from_pretrained`.

    Args:
        name: `"clip"` (a `CLIPModel` with its image processor and tokenizer) or `"llama"` (a `LlamaForCausalLM`
            with its tokenizer and chat template).

    Example:
        >>> (backbone_path("llama") / "config.json").is_file()
        True
    """
    return Path(__file__).resolve().parent / "backbones" / name
