"""Compact: SigLIP2, pixel shuffle and a small LLM, for a model that fits a laptop.

Pixel shuffle merges squares of features, so that a picture of 512 pixels takes 64 positions of the LLM, not 1,024. One
stage, *instruct*, trains projector and LoRA together on conversations and captions, in the LLM's own chat template.

* ``smolvlm``: one linear layer after squares of 4 x 4, as in SmolVLM (Marafioti et al., 2025,
  https://arxiv.org/abs/2504.05299) and nanoVLM (https://github.com/huggingface/nanoVLM), with SmolLM2.
* ``internvl``: LayerNorm and two layers after squares of 2 x 2, as in InternVL3.5 (Wang et al., 2025,
  https://arxiv.org/abs/2508.18265), with Qwen3.

These models train the LLM, and nanoVLM the encoder too; here both are frozen and the LLM has LoRA.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS
from inlay.recipes.systems.registry import System

__all__ = ["SYSTEM", "Version", "recipe"]

Version: TypeAlias = Literal["smolvlm", "internvl"]

LAYERS: dict[str, dict[str, Any]] = {
    "smolvlm": {"factor": 4, "depth": 1, "bias": False},
    "internvl": {"factor": 2, "depth": 2, "norm": True},
}
"""Version -> fields of the projector."""

# Projector, schedule and batch: nanoVLM's models/config.py and train.py (5.12e-3; AdamW's default decay; 3 % warm-up,
# cosine to a tenth; 2 x 8 rows a device). LoRA: smollm's vision/finetuning/Smol_VLM_FT.ipynb (r 8, all linears, 1e-4).
PUBLISHED = Recipe(
    system="compact",
    projector="pixel_shuffle",
    lora=LoraConfig(r=8, alpha=8.0, dropout=0.1),
    stages={
        "instruct": Stage(
            data="all",
            template="auto",
            geometry="squash",
            lr={"inputs.image": 5.12e-3, "lora": 1e-4},
            batch_size=16,
            optimizer=OptimizerSettings(weight_decay=0.01, floor=0.1),
        ),
    },
)

# A small LLM needs higher learning rates; no dropout in such a short training.
MINIATURE = Recipe(
    system="compact",
    projector="pixel_shuffle",
    lora=LoraConfig(r=16, alpha=16.0),
    stages={
        "instruct": Stage(
            data="all",
            template="auto",
            geometry="squash",
            lr={"inputs.image": 5e-3, "lora": 4e-3},
            batch_size=32,
            epochs=3.0,
        ),
    },
)


def recipe(version: Version = "smolvlm", size: Size = "miniature") -> Recipe:
    """Compact's parts and stage.

    Args:
        version: the projector's layers.
        size: the published settings, or those for the embedded miniature, whose grid of features is 6 x 6.
    """
    layers = LAYERS[version]
    if size == "full":
        return replace(PUBLISHED, version=version, size=size, projector_options={"pixel_shuffle": layers})
    options = {**MINIATURE_PROJECTORS, "pixel_shuffle": {**layers, "factor": 2}}
    return replace(MINIATURE, version=version, size=size, projector_options=options)


SYSTEM = System(recipe=recipe, versions=("smolvlm", "internvl"))
