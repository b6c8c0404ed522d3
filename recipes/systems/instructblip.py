"""InstructBLIP (Dai et al., 2023, https://arxiv.org/abs/2305.06500).

BLIP-2's Q-Former also reads the instruction, so that its output depends on the question. One stage, *instruct*, trains
on many data sets, sampled by the square roots of their sizes, with a random template for each question or caption.

Training starts from a BLIP-2 Q-Former: ``--begin`` takes a bundle. The miniature's recipe trains one first, with
BLIP-2's two stages.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from inlay.recipes.settings.default_models import MINIATURE, Sources
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.blip2 import MINIATURE_GENERATE, MINIATURE_REPRESENT
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS
from inlay.recipes.systems.registry import System

__all__ = ["SYSTEM", "Version", "recipe"]

Version: TypeAlias = Literal["vicuna", "t5"]

# Section 3 and appendix E: Vicuna-7B and Flan-T5-XL (the latter with batches of 192); warm-up from 1e-8, cosine to 0.
INSTRUCT = Stage(
    data="all",
    template="instructblip",
    geometry="squash",
    lr={"inputs.image": 1e-5},
    batch_size=128,
    accumulate=8,
    epochs=100.0,
    max_steps=60_000,
    optimizer=OptimizerSettings(weight_decay=0.05, clip=0.0, warmup_steps=1000, start=0.001),
    samples=SampleSettings(templates="instruct", turns="apart"),
)

MINIATURE_INSTRUCT = Stage(
    data="all",
    template="instructblip",
    geometry="squash",
    lr={"inputs.image": 1e-3},
    batch_size=64,
    epochs=3.0,
    grouping="length",
    samples=SampleSettings(templates="instruct", turns="apart"),
)


def recipe(version: Version = "vicuna", size: Size = "miniature") -> Recipe:
    """InstructBLIP's parts and stages.

    Args:
        version: the LLM's family.
        size: the published settings, or those for the embedded miniature.
    """
    llm, image = f"{MINIATURE}{'t5' if version == 't5' else 'llama'}", f"{MINIATURE}eva"
    if size == "full":
        return Recipe(
            system="instructblip",
            version=version,
            size=size,
            projector="instruct_qformer",
            stages={"instruct": INSTRUCT},
            sources=Sources(llm=llm, image=image, prompt="bert-base-uncased"),
            decoding={"num_beams": 5, "length_penalty": -1.0, "max_new_tokens": 10},
        )
    return Recipe(
        system="instructblip",
        version=version,
        size=size,
        projector="instruct_qformer",
        projector_options=MINIATURE_PROJECTORS,
        stages={"represent": MINIATURE_REPRESENT, "generate": MINIATURE_GENERATE, "instruct": MINIATURE_INSTRUCT},
        sources=Sources(llm=llm, image=image, prompt=f"{MINIATURE}bert"),
    )


SYSTEM = System(recipe=recipe, versions=("vicuna", "t5"))
