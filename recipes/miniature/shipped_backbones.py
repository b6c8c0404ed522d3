"""Where the backbones of the miniature are: folders in the standard layouts of transformers and diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from inlay.hub.errors import InlayError

__all__ = ["BackboneName", "MiniatureError", "backbone_path"]

BackboneName: TypeAlias = Literal[
    "clip", "llama", "eva", "opt", "t5", "bert", "qformer", "imagebind", "clap", "sd", "audioldm", "video"
]
FOLDER = Path(__file__).resolve().parent / "backbones"


class MiniatureError(InlayError):
    """The package does not hold what was asked for."""


def backbone_path(name: BackboneName) -> Path:
    """The folder of a shipped backbone, to be given to `from_pretrained`.

    Args:
        name: `"clip"` (a `CLIPModel` with its image processor and tokenizer), `"llama"` (a `LlamaForCausalLM` with its
            tokenizer and chat template), `"eva"` (a `Blip2VisionModel` with its image processor), `"opt"`, `"t5"`
            (language models with their tokenizers), `"bert"` (a `BertForMaskedLM` with its tokenizer, which reads
            captions and prompts; Q-Formers begin with its weights),
            `"qformer"` (a bundle of BLIP-2 on `"eva"`, for MiniGPT-4's frozen Q-Former),
            `"imagebind"` (drawings, sounds and clips in one space), `"clap"` (a `ClapModel` with its feature extractor
            and tokenizer; its texts are those of `"audioldm"`), `"sd"`, `"audioldm"`, `"video"` (pipelines of
            diffusers that make them).

    Raises:
        MiniatureError: no such backbone, or one that is not there.

    Example:
        >>> (backbone_path("llama") / "config.json").is_file()
        True
    """
    if name not in get_args(BackboneName):
        raise MiniatureError(f"expected one of {', '.join(get_args(BackboneName))}, got {name!r}")
    folder = FOLDER / name
    if not folder.is_dir():
        raise MiniatureError(
            f"the miniature {name!r} is not part of this package; name models of your own: --backbone.llm, "
            "--backbone.image, --backbone.prompt, --backbone.qformer"
        )
    return folder
