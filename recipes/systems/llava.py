"""LLaVA 1.0 and 1.5 (Liu et al., 2023, https://arxiv.org/abs/2304.08485 and https://arxiv.org/abs/2310.03744).

A projector carries the patch features of a frozen CLIP into a frozen LLM. Stage *align* trains the projector on
captioned pictures, laid out ``plain``; stage *instruct* trains projector and LoRA on conversations, laid out
``vicuna_v1``.

The published hyper-parameters stand beside the miniature's; the one thing that a miniature changes is scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from inlay.adapters.conversation.templates.llava import VICUNA_SYSTEM
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.recipes.settings.recipe import Recipe, Size, Stage, System

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone

__all__ = ["LINEARS", "SYSTEM", "Version", "adapter", "recipe"]

Version: TypeAlias = Literal["1.0", "1.5"]

PROJECTOR = {"1.0": "linear", "1.5": "mlp"}
"""1.0: one linear. 1.5: ``mlp2x_gelu``."""

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All linears of LLaMA's layers."""

LORA = {
    # scripts/finetune_lora.sh of 1.0 leaves LoRA's defaults; the paper itself trains the whole LLM.
    "1.0": LoraConfig(r=64, alpha=16.0, dropout=0.05, targets=LINEARS),
    # scripts/v1_5/finetune_lora.sh
    "1.5": LoraConfig(r=128, alpha=256.0, dropout=0.05, targets=LINEARS),
}

FULL = {
    "1.0": {
        "align": Stage(data="align", template="plain", geometry="crop", lr={"inputs.image": 2e-3}, batch_size=128),
        "instruct": Stage(
            data="train",
            template="vicuna_v1",
            system=VICUNA_SYSTEM,
            geometry="crop",
            lr={"inputs.image": 2e-5, "lora": 2e-5},
            batch_size=128,
        ),
    },
    "1.5": {
        "align": Stage(
            data="align", template="plain", geometry="crop", lr={"inputs.image": 1e-3}, batch_size=256, accumulate=8
        ),
        "instruct": Stage(
            data="train",
            template="vicuna_v1",
            system=VICUNA_SYSTEM,
            geometry="pad",
            lr={"inputs.image": 2e-5, "lora": 2e-4},
            batch_size=128,
            accumulate=8,
        ),
    },
}
"""7B and 13B on CLIP ViT-L/14 (224 px for 1.0, 336 px for 1.5); one epoch, cosine, 3 % warm-up, no weight decay."""

MINIATURE = {
    "align": Stage(
        data="align", template="plain", geometry="pad", lr={"inputs.image": 1e-2}, batch_size=16, epochs=4.0
    ),
    "instruct": Stage(
        data="train",
        template="vicuna_v1",
        geometry="pad",
        lr={"inputs.image": 3e-3, "lora": 4e-3},
        batch_size=32,
        epochs=3.0,
    ),
}
MINIATURE_LORA = LoraConfig(r=16, alpha=16.0, targets=LINEARS)
"""A small LLM needs larger steps than a large one; no dropout in so short a training."""


def recipe(version: Version = "1.5", size: Size = "miniature") -> Recipe:
    """LLaVA's stages and parts.

    Args:
        version: 1.0 (linear) or 1.5 (two-layer MLP).
        size: the published numbers for 7B and 13B, or those for the embedded miniature.
    """
    return Recipe(
        system="llava",
        projector=PROJECTOR[version],
        lora=LORA[version] if size == "full" else MINIATURE_LORA,
        stages=FULL[version] if size == "full" else MINIATURE,
    )


def adapter(backbone: Backbone, version: Version = "1.5", size: Size = "full", name: str = "llava") -> Adapter:
    """An untrained LLaVA adapter whose widths are read from the backbone."""
    return recipe(version, size).adapter(backbone, name)


SYSTEM = System(recipe=recipe, versions=("1.5", "1.0"))
"""For the command line."""
