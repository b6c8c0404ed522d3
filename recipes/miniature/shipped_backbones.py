"""The folders of the shipped backbones, in the standard layouts of transformers and diffusers."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from inlay.hub.errors import InlayError

__all__ = ["BackboneName", "MiniatureError", "backbone_path"]

BackboneName: TypeAlias = Literal[
    "clip", "llama", "eva", "opt", "t5", "bert", "qformer", "imagebind", "clap", "sd", "audioldm", "video"
]
FOLDER = Path(__file__).resolve().parent / "backbones"
SHARED = {"video": {"vae": "sd/vae"}}
"""Backbone -> its subfolders that equal those of another backbone and are stored only there."""


class MiniatureError(InlayError):
    """The package does not contain the requested backbone."""


def backbone_path(name: BackboneName) -> Path:
    """The folder of a shipped backbone, for `from_pretrained`.

    Args:
        name: `"clip"`: a `CLIPModel` with image processor and tokenizer. `"eva"`: a `Blip2VisionModel` with image
            processor. `"llama"`: a `LlamaForCausalLM` with tokenizer and chat template. `"opt"`, `"t5"`: language
            models with tokenizers. `"bert"`: a `BertForMaskedLM` with tokenizer; Q-Formers start from its weights, and
            the tokenizer reads captions and prompts. `"qformer"`: a bundle of BLIP-2 on `"eva"`, the frozen Q-Former
            of MiniGPT-4. `"imagebind"`: an encoder of drawings, sounds and clips. `"clap"`: a `ClapModel` with feature
            extractor and tokenizer; its text encoder is that of `"audioldm"`. `"sd"`, `"audioldm"`, `"video"`:
            pipelines of diffusers.

    Returns:
        A folder in the package. For a backbone with shared subfolders: a temporary folder of links to the files, which
        is deleted when the process ends.

    Raises:
        MiniatureError: the name is unknown, or the package lacks the folder.

    Example:
        >>> (backbone_path("llama") / "config.json").is_file()
        True
    """
    if name not in get_args(BackboneName):
        raise MiniatureError(f"expected one of {', '.join(get_args(BackboneName))}, got {name!r}")
    folder = FOLDER / name
    if not folder.is_dir():
        raise MiniatureError(
            f"the miniature {name!r} is not part of this package; name your own models: --backbone.llm, "
            "--backbone.image, --backbone.prompt, --backbone.qformer"
        )
    return _with_shared_folders(folder) if name in SHARED else folder


@cache
def _with_shared_folders(folder: Path) -> Path:
    """A temporary folder with the files of `folder` and of the subfolders that it shares."""
    target = Path(tempfile.mkdtemp(prefix=f"inlay-{folder.name}-"))
    atexit.register(_remove, target, os.getpid())
    sources = {"": folder, **{part: folder.parent / shared for part, shared in SHARED[folder.name].items()}}
    for part, source in sources.items():
        shutil.copytree(source, target / part, copy_function=_link, dirs_exist_ok=True)
    return target


def _link(source: str, target: str) -> None:
    """A symbolic link, or a copy where the system does not allow links (Windows without developer mode)."""
    try:
        os.symlink(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _remove(folder: Path, owner: int) -> None:
    """Delete the folder in the process that created it; a forked child that ends must not delete it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
