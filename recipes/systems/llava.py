"""LLaVA 1.0 and 1.5 (Liu et al., 2023, https://arxiv.org/abs/2304.08485 and https://arxiv.org/abs/2310.03744).

A projector maps the patch features of a frozen CLIP to inputs of a frozen LLM. Stage *align* trains the projector on
captioned pictures with template ``plain``; stage *instruct* trains projector and LoRA on conversations with template
``vicuna_v1``, or with the chat template of an LLM that has one. The published settings are for 7B and 13B.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.registry import System

__all__ = ["SYSTEM", "Version", "recipe"]

Version: TypeAlias = Literal["1.5", "1.0"]

# LoRA on all linear layers of the blocks. One epoch per stage, cosine, 3 % warm-up, no weight decay.
# scripts/v1_5/pretrain.sh and finetune_lora.sh; CLIP ViT-L/14 at 336 px; projector mlp2x_gelu.
V1_5 = Recipe(
    system="llava",
    projector="mlp",
    lora=LoraConfig(r=128, alpha=256.0, dropout=0.05),
    stages={
        "align": Stage(
            data="align",
            template="plain",
            geometry="crop",
            lr={"inputs.image": 1e-3},
            batch_size=256,
            accumulate=8,
        ),
        "instruct": Stage(
            data="train",
            template="auto",
            system=VICUNA_SYSTEM,
            geometry="pad",
            lr={"inputs.image": 2e-5, "lora": 2e-4},
            batch_size=128,
            accumulate=8,
        ),
    },
)

# scripts/finetune_lora.sh of 1.0 keeps LoRA's defaults; the paper trains the whole LLM. CLIP at 224 px.
V1_0 = Recipe(
    system="llava",
    projector="linear",
    lora=LoraConfig(r=64, alpha=16.0, dropout=0.05),
    stages={
        "align": Stage(
            data="align",
            template="plain",
            geometry="crop",
            lr={"inputs.image": 2e-3},
            batch_size=128,
        ),
        "instruct": Stage(
            data="train",
            template="auto",
            system=VICUNA_SYSTEM,
            geometry="crop",
            lr={"inputs.image": 2e-5, "lora": 2e-5},
            batch_size=128,
        ),
    },
)

# A small LLM needs higher learning rates; no dropout in such a short training.
MINIATURE = Recipe(
    system="llava",
    projector="mlp",
    lora=LoraConfig(r=16, alpha=16.0),
    stages={
        "align": Stage(
            data="align",
            template="plain",
            geometry="pad",
            lr={"inputs.image": 1e-2},
            batch_size=16,
            epochs=4.0,
        ),
        "instruct": Stage(
            data="train",
            template="auto",
            geometry="pad",
            lr={"inputs.image": 3e-3, "lora": 4e-3},
            batch_size=32,
            epochs=3.0,
        ),
    },
)


def recipe(version: Version = "1.5", size: Size = "miniature", tiling: str | None = None) -> Recipe:
    """LLaVA's parts and stages.

    Args:
        version: 1.0 (linear) or 1.5 (two-layer MLP).
        size: the published settings, or those for the embedded miniature.
        tiling: rule that cuts pictures into tiles in stage *instruct*: ``anyres``, as in LLaVA 1.6 (whose first stage
            has one square per picture), or another of :data:`inlay.adapters.media.tiling.registry.TILINGS`.
    """
    published = {"1.5": V1_5, "1.0": V1_0}[version]
    chosen = published if size == "full" else replace(MINIATURE, projector=published.projector)
    stages = {**chosen.stages, "instruct": replace(chosen.stages["instruct"], tiling=tiling)}
    return replace(chosen, version=version, size=size, stages=stages)


SYSTEM = System(recipe=recipe, versions=("1.5", "1.0"))
