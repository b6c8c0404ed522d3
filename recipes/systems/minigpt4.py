"""MiniGPT-4 (Zhu et al., 2023, https://arxiv.org/abs/2304.10592).

One linear layer on top of BLIP-2's frozen Q-Former, which is part of the encoder here. Stage *pretrain* trains it on
captioned pictures without a prompt; *finetune* on a few thousand long descriptions with four instructions and the
template ``###Human``, ``###Assistant``. The LLaMA-2 version has no Q-Former: it concatenates four neighbouring patches,
and the linear layer is wider.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from inlay.recipes.settings.default_models import MINIATURE as MINIATURE_MODELS
from inlay.recipes.settings.default_models import SAME, Sources
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS
from inlay.recipes.systems.registry import System

__all__ = ["SYSTEM", "Version", "recipe"]

Version: TypeAlias = Literal["vicuna", "llama2"]

# train_configs/minigpt4_stage1_pretrain.yaml (four GPUs with 64 pictures each) and minigpt4_stage2_finetune.yaml; the
# paper trains the second stage for 400 steps, the configuration for five epochs of 200.
PUBLISHED = Recipe(
    system="minigpt4",
    projector="linear",
    sources=Sources(llm=f"{MINIATURE_MODELS}llama", image=f"{MINIATURE_MODELS}eva", qformer=SAME),
    stages={
        "pretrain": Stage(
            data="align",
            template="plain",
            geometry="squash",
            lr={"inputs.image": 1e-4},
            batch_size=256,
            accumulate=4,
            max_steps=20_000,
            optimizer=OptimizerSettings(weight_decay=0.05, clip=0.0, warmup_steps=5000, start=0.01, floor=0.8),
            samples=SampleSettings(phrasing="blip"),
        ),
        "finetune": Stage(
            data="train",
            template="minigpt4",
            geometry="squash",
            lr={"inputs.image": 3e-5},
            batch_size=12,
            epochs=5.0,
            max_steps=1000,
            optimizer=OptimizerSettings(weight_decay=0.05, clip=0.0, warmup_steps=200, start=1 / 30, floor=1 / 3),
            samples=SampleSettings(templates="describe"),
        ),
    },
)

MINIATURE = Recipe(
    system="minigpt4",
    projector="linear",
    projector_options=MINIATURE_PROJECTORS,
    sources=Sources(
        llm=f"{MINIATURE_MODELS}llama", image=f"{MINIATURE_MODELS}eva", qformer=f"{MINIATURE_MODELS}qformer"
    ),
    stages={
        "pretrain": Stage(
            data="align",
            template="plain",
            geometry="squash",
            lr={"inputs.image": 1e-2},
            batch_size=32,
            epochs=8.0,
            grouping="length",
        ),
        "finetune": Stage(
            data="train",
            template="minigpt4",
            geometry="squash",
            lr={"inputs.image": 1e-2},
            batch_size=32,
            epochs=8.0,
            grouping="length",
            samples=SampleSettings(templates="describe"),
        ),
    },
)


def recipe(version: Version = "vicuna", size: Size = "miniature") -> Recipe:
    """MiniGPT-4's parts and stages.

    Args:
        version: the LLM; ``vicuna`` has a Q-Former, ``llama2`` has none.
        size: the published settings, or those for the embedded miniature.
    """
    chosen = replace(PUBLISHED if size == "full" else MINIATURE, version=version, size=size)
    if version == "vicuna":
        return chosen
    finetune = replace(chosen.stages["finetune"], template="minigpt4_llama2")
    return replace(
        chosen,
        projector="patch_merge",
        sources=replace(chosen.sources, qformer=None),
        stages={**chosen.stages, "finetune": finetune},
    )


SYSTEM = System(recipe=recipe, versions=("vicuna", "llama2"))
