"""ModaVerse (Wang et al., 2024, https://arxiv.org/abs/2401.06395).

ImageBind's vectors of pictures, sounds and clips enter a frozen LLM through one linear layer. Nothing of its states is
used on the way out: the LLM says in words what is to be made (:mod:`inlay.adapters.conversation.meta_response`), and
stock generators read that with their own text encoders. So one stage is enough: linear layer, LoRA, and rows of six new
tokens.

The released code also trains, and stores, both whole embedding matrices; here the new rows alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from inlay.adapters.conversation.meta_response import FLAGS
from inlay.adapters.conversation.templates.any_to_any import MEDIA_TOKENS
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.media.modality import Modality
from inlay.recipes.nextgpt import MINIATURE_MAKING, QKVO, SOURCES
from inlay.recipes.recipe import Recipe, Size, Stage, System

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone

__all__ = ["SYSTEM", "TOKENS", "Version", "adapter", "recipe"]

Version: TypeAlias = Literal["1.0"]

TOKENS = (*MEDIA_TOKENS, *FLAGS.values())
"""New tokens in their published order."""

FULL = {
    "instruct": Stage(
        data="train",
        template="modaverse",
        geometry="crop",
        lr={"inputs": 5e-4, "lora": 5e-4, "tokens": 5e-4},
        batch_size=16,
        accumulate=4,
        weight_decay=1e-3,
        betas=(0.9, 0.95),
        warmup=0.1,
        schedule="linear",
    )
}
"""7B on one GPU, one epoch; DeepSpeed's ``WarmupDecayLR`` with a maximum of 5e-4 sets the learning rate."""

MINIATURE_STAGES = {
    "instruct": Stage(
        data="all",
        template="modaverse",
        geometry="crop",
        lr={"inputs": 1e-2, "lora": 4e-3, "tokens": 4e-3},
        batch_size=32,
        epochs=8.0,
        warmup=0.05,
        grouping="length",
    )
}


MAKING: dict[Modality, dict[str, Any]] = {
    "image": {"steps": 50, "guidance_scale": 7.5},
    "video": {"steps": 25, "guidance_scale": 9.0},
    "audio": {"steps": 10, "guidance_scale": 2.5, "size": 5.0},
}
"""As in the released code; what that leaves open is the pipelines' own."""


def recipe(version: Version = "1.0", size: Size = "miniature") -> Recipe:
    """ModaVerse's stage and parts.

    Args:
        version: there is one.
        size: the published numbers for 7B, or those for the embedded miniature.
    """
    small = size == "miniature"
    return Recipe(
        system="modaverse",
        projector="linear",
        modalities=("image", "audio", "video"),
        shared=True,
        tokens=TOKENS,
        lora=LoraConfig(r=16, alpha=16.0, targets=QKVO)
        if small
        else LoraConfig(r=32, alpha=32.0, dropout=0.1, targets=QKVO),
        stages=MINIATURE_STAGES if small else FULL,
        # ImageBind with its factor on sounds, as it was released.
        sources=replace(SOURCES, audio_scale=True, clips_reach_end=True),
        making=MINIATURE_MAKING if small else MAKING,
        world="senses",
        decoding={} if small else {"do_sample": True, "top_p": 0.01, "temperature": 1.0, "max_new_tokens": 246},
    )


def adapter(backbone: Backbone, version: Version = "1.0", size: Size = "full", name: str = "modaverse") -> Adapter:
    """An untrained ModaVerse adapter whose widths are read from the backbone."""
    return recipe(version, size).adapter(backbone, name)


SYSTEM = System(recipe=recipe, versions=("1.0",))
"""For the command line."""
