"""ModaVerse (Wang et al., 2024, https://arxiv.org/abs/2401.06395).

One linear layer maps ImageBind's vectors of pictures, sounds and clips to inputs of a frozen LLM. For output, the LLM
describes the media in text (:mod:`inlay.adapters.conversation.meta_response`), which unmodified generators read with
their own text encoders. One stage trains the linear layer, LoRA, and the rows of six new tokens. The released code also
trains and stores both whole embedding matrices, here only the new rows are trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from inlay.adapters.conversation.meta_response import FLAGS
from inlay.adapters.conversation.templates.any_to_any import MEDIA_TOKENS
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.media.modality import Modality
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import QKVO, Recipe, Size
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.nextgpt import DECODING, MINIATURE_GENERATION, SOURCES
from inlay.recipes.systems.registry import System

__all__ = ["SYSTEM", "TOKENS", "Version", "recipe"]

Version: TypeAlias = Literal["1.0"]

TOKENS = (*MEDIA_TOKENS, *FLAGS.values())
"""New tokens in their published order."""

GENERATION: dict[Modality, dict[str, Any]] = {
    "image": {"steps": 50, "guidance_scale": 7.5},
    "video": {"steps": 25, "guidance_scale": 9.0},
    "audio": {"steps": 10, "guidance_scale": 2.5, "size": 5.0},
}
"""Generation options of the released code; all others are the pipelines' defaults."""

# 7B on one GPU, one epoch; DeepSpeed's WarmupDecayLR with a maximum of 5e-4 sets the learning rate. ImageBind with its
# factor on audio features.
PUBLISHED = Recipe(
    system="modaverse",
    projector="linear",
    modalities=("image", "audio", "video"),
    shared=True,
    tokens=TOKENS,
    lora=LoraConfig(r=32, alpha=32.0, dropout=0.1, targets=QKVO),
    stages={
        "instruct": Stage(
            data="train",
            template="modaverse",
            geometry="crop",
            lr={"inputs": 5e-4, "lora": 5e-4, "tokens": 5e-4},
            batch_size=16,
            accumulate=4,
            optimizer=OptimizerSettings(weight_decay=1e-3, betas=(0.9, 0.95), warmup=0.1, schedule="linear"),
        )
    },
    sources=replace(SOURCES, audio_scale=True, clips_reach_end=True),
    generation=GENERATION,
    world="senses",
    decoding=DECODING,
)

MINIATURE = Recipe(
    system="modaverse",
    projector="linear",
    modalities=("image", "audio", "video"),
    shared=True,
    tokens=TOKENS,
    lora=LoraConfig(r=16, alpha=16.0, targets=QKVO),
    stages={
        "instruct": Stage(
            data="all",
            template="modaverse",
            geometry="crop",
            lr={"inputs": 1e-2, "lora": 4e-3, "tokens": 4e-3},
            batch_size=32,
            epochs=8.0,
            grouping="length",
            optimizer=OptimizerSettings(warmup=0.05),
        )
    },
    sources=replace(SOURCES, audio_scale=True, clips_reach_end=True),
    generation=MINIATURE_GENERATION,
    world="senses",
)


def recipe(version: Version = "1.0", size: Size = "miniature") -> Recipe:
    """ModaVerse's parts and stage.

    Args:
        version: only ``1.0``.
        size: the published settings for 7B, or those for the embedded miniature.
    """
    return replace(PUBLISHED if size == "full" else MINIATURE, version=version, size=size)


SYSTEM = System(recipe=recipe, versions=("1.0",))
