"""InstructBLIP (Dai et al., 2023, https://arxiv.org/abs/2305.06500).

BLIP-2's Q-Former reads the instruction too, so what it looks for in the picture depends on what is asked. One stage,
*instruct*, on many data sets, each drawn by the square root of its size, with one of several wordings around a question
or in front of a caption.

It begins with a Q-Former that BLIP-2 trained: ``--begin`` takes a bundle. The miniature has none to begin with, so its
recipe runs BLIP-2's two stages first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from inlay.recipes.settings.default_models import MINIATURE, Sources
from inlay.recipes.settings.recipe import Recipe, Size, Stage, System
from inlay.recipes.systems import blip2
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone

__all__ = ["SYSTEM", "Version", "adapter", "recipe"]

Version: TypeAlias = Literal["vicuna", "t5"]

FULL = {
    "instruct": Stage(
        data="all",
        template="instructblip",
        geometry="squash",
        templates="instruct",
        turns="apart",
        lr={"inputs.image": 1e-5},
        batch_size=128,
        accumulate=8,
        epochs=100.0,
        max_steps=60_000,
        warmup_steps=1000,
        start=0.001,
        weight_decay=0.05,
        clip=0.0,
    )
}
"""Vicuna-7B and Flan-T5-XL (there 192 a step): 60,000 steps, warm-up from 1e-8, cosine to 0."""

MINIATURE_INSTRUCT = Stage(
    data="all",
    template="instructblip",
    geometry="squash",
    templates="instruct",
    turns="apart",
    lr={"inputs.image": 1e-3},
    batch_size=64,
    epochs=3.0,
    grouping="length",
)

LLM = {"vicuna": "llama", "t5": "t5"}


def recipe(version: Version = "vicuna", size: Size = "miniature") -> Recipe:
    """InstructBLIP's stages and parts.

    Args:
        version: the LLM's family.
        size: the published numbers, or those for the embedded miniature.
    """
    small = size == "miniature"
    first = {name: stage for name, stage in blip2.miniature_stages("opt").items() if name != "vqa"}
    return Recipe(
        system="instructblip",
        projector="instruct_qformer",
        projector_options=MINIATURE_PROJECTORS if small else {},
        stages={**first, "instruct": MINIATURE_INSTRUCT} if small else FULL,
        sources=Sources(
            llm=f"{MINIATURE}{LLM[version]}",
            image=f"{MINIATURE}eva",
            prompt=f"{MINIATURE}bert" if small else "bert-base-uncased",
        ),
        decoding={} if small else {"num_beams": 5, "length_penalty": -1.0, "max_new_tokens": 10},
    )


def adapter(
    backbone: Backbone, version: Version = "vicuna", size: Size = "full", name: str = "instructblip"
) -> Adapter:
    """An untrained InstructBLIP adapter whose widths are read from the backbone."""
    return recipe(version, size).adapter(backbone, name)


SYSTEM = System(recipe=recipe, versions=("vicuna", "t5"))
"""For the command line."""
