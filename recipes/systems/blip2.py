"""BLIP-2 (Li et al., 2023, https://arxiv.org/abs/2301.12597).

A Q-Former maps the features of a frozen EVA ViT-g to inputs of a frozen LLM. Stage *represent* trains it with a text
branch and without an LLM on contrast, matching and generation; *generate* trains it and a linear layer on captioning
with the LLM; *vqa* on question answering. An ``instruct_qformer`` also reads the question, as in the paper's VQA
fine-tuning.

Two LLMs: OPT (decoder-only) reads ``[32 visual] </s> text``; the encoder of Flan-T5 reads the picture and the beginning
of a caption, and its decoder generates the rest. ``pformer`` is OPT with a text-only teacher
(https://arxiv.org/abs/2307.07063).

Not reproduced: random crops and flips in the first two stages, and training the ViT at 490 pixels in the VQA stage;
here the encoder stays frozen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from inlay.recipes.objectives.pformer.settings import PFormerStudent, PFormerTeacher
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive
from inlay.recipes.settings.default_models import MINIATURE, Sources
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.samples import SampleSettings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.miniature_sizes import MINIATURE_PROJECTORS
from inlay.recipes.systems.registry import System

__all__ = ["MINIATURE_GENERATE", "MINIATURE_REPRESENT", "SYSTEM", "Version", "recipe"]

Version: TypeAlias = Literal["opt", "t5", "pformer"]

ANSWER = "Question: {} Answer:"
"""The prompt of the VQA stage; the paper's zero-shot evaluation uses ``Short answer:`` instead."""

# lavis/projects/blip2/train/pretrain_stage1.yaml; 129 million pairs. The contrast compares
# all pairs of a batch, so there is no accumulation.
REPRESENT = Stage(
    data="align",
    template="blip2",
    geometry="squash",
    prompt="",
    lr={"inputs.image": 1e-4},
    batch_size=1680,
    epochs=10.0,
    max_steps=250_000,
    objective=QFormerContrastive(bert="bert-base-uncased", rerank=128),
    optimizer=OptimizerSettings(
        weight_decay=0.05, betas=(0.9, 0.98), clip=0.0, warmup_steps=2000, start=0.01, floor=0.1
    ),
    samples=SampleSettings(phrasing="blip"),
)

# pretrain_stage2.yaml
GENERATE = Stage(
    data="align",
    template="blip2",
    geometry="squash",
    prompt="",
    lr={"inputs.image": 1e-4},
    batch_size=1920,
    accumulate=30,
    epochs=10.0,
    max_steps=80_000,
    optimizer=OptimizerSettings(
        weight_decay=0.05, betas=(0.9, 0.98), clip=0.0, warmup_steps=2000, start=0.01, floor=0.5
    ),
    samples=SampleSettings(phrasing="blip"),
)
GENERATE_T5 = Stage(
    data="align",
    template="blip2",
    geometry="squash",
    lr={"inputs.image": 1e-4},
    batch_size=1520,
    accumulate=20,
    epochs=10.0,
    max_steps=80_000,
    optimizer=OptimizerSettings(
        weight_decay=0.05, betas=(0.9, 0.98), clip=0.0, warmup_steps=2000, start=0.01, floor=0.5
    ),
    samples=SampleSettings(phrasing="blip", split="random"),
)

# The paper's appendix on VQA, without training the ViT.
VQA = Stage(
    data="train",
    template="blip2",
    geometry="squash",
    prompt=ANSWER,
    lr={"inputs.image": 1e-5},
    batch_size=128,
    accumulate=4,
    epochs=5.0,
    optimizer=OptimizerSettings(weight_decay=0.05, betas=(0.9, 0.98), clip=0.0, warmup_steps=1000),
    samples=SampleSettings(turns="apart", phrasing="blip", answers="sampled"),
)

PUBLISHED: dict[Version, dict[str, Stage]] = {
    "opt": {"represent": REPRESENT, "generate": GENERATE, "vqa": VQA},
    "t5": {"represent": REPRESENT, "generate": GENERATE_T5, "vqa": VQA},
    "pformer": {
        "represent": REPRESENT,
        "teach": replace(GENERATE, lr={"teacher": 1e-4}, objective=PFormerTeacher()),
        "generate": replace(GENERATE, objective=PFormerStudent()),
        "vqa": VQA,
    },
}

# The miniature has higher learning rates. Batches of similar length are worse for OPT: 62 % of the captions are fully
# correct after *generate* instead of 76 %, and *vqa* loses a point. With T5, 37 % of the captions are correct instead
# of 52 %, but answers after *vqa* are better: 85.6 % instead of 83.6 %.
MINIATURE_REPRESENT = Stage(
    data="align",
    template="blip2",
    geometry="squash",
    prompt="",
    lr={"inputs.image": 1e-3},
    batch_size=32,
    epochs=2.0,
    objective=QFormerContrastive(bert=f"{MINIATURE}bert", embedding=64, text_tokens=48, rerank=10),
    optimizer=OptimizerSettings(warmup=0.05),
)
MINIATURE_GENERATE = Stage(
    data="align",
    template="blip2",
    geometry="squash",
    prompt="",
    lr={"inputs.image": 1e-3},
    batch_size=32,
    epochs=6.0,
    optimizer=OptimizerSettings(warmup=0.05),
)
MINIATURE_VQA = Stage(
    data="train",
    template="blip2",
    geometry="squash",
    prompt=ANSWER,
    lr={"inputs.image": 1e-3},
    batch_size=32,
    epochs=5.0,
)
# A decoder learns from all questions of a picture at once, an encoder-decoder from one question per sample, and needs
# larger batches and a lower rate: with seed 2, 81.5 % at 32 questions per step, 85.5 % at 64, 87.7 % at half the rate.
MINIATURE_VQA_T5 = Stage(
    data="train",
    template="blip2",
    geometry="squash",
    prompt=ANSWER,
    lr={"inputs.image": 5e-4},
    batch_size=64,
    epochs=6.0,
    grouping="length",
    samples=SampleSettings(turns="apart"),
)

SMALL: dict[Version, dict[str, Stage]] = {
    "opt": {"represent": MINIATURE_REPRESENT, "generate": MINIATURE_GENERATE, "vqa": MINIATURE_VQA},
    "t5": {
        "represent": replace(MINIATURE_REPRESENT, epochs=3.0, grouping="length"),
        "generate": Stage(
            data="align",
            template="blip2",
            geometry="squash",
            lr={"inputs.image": 1e-3},
            batch_size=32,
            epochs=6.0,
            grouping="length",
            optimizer=OptimizerSettings(warmup=0.05),
            samples=SampleSettings(split="random"),
        ),
        "vqa": MINIATURE_VQA_T5,
    },
    "pformer": {
        "represent": MINIATURE_REPRESENT,
        "teach": replace(
            MINIATURE_GENERATE,
            lr={"teacher": 1e-4},
            objective=PFormerTeacher(bert=f"{MINIATURE}bert", text_tokens=48),
        ),
        "generate": replace(MINIATURE_GENERATE, objective=PFormerStudent(text_tokens=48)),
        "vqa": MINIATURE_VQA,
    },
}


def recipe(version: Version = "opt", size: Size = "miniature") -> Recipe:
    """BLIP-2's parts and stages.

    Args:
        version: the LLM's family; ``pformer`` is OPT with a text-only teacher.
        size: the published settings, or those for the embedded miniature.
    """
    llm, image = f"{MINIATURE}{'t5' if version == 't5' else 'opt'}", f"{MINIATURE}eva"
    if size == "full":
        return Recipe(
            system="blip2",
            version=version,
            size=size,
            projector="qformer",
            stages=PUBLISHED[version],
            sources=Sources(llm=llm, image=image, prompt="bert-base-uncased"),
            decoding={"num_beams": 5, "length_penalty": -1.0, "max_new_tokens": 10},
        )
    return Recipe(
        system="blip2",
        version=version,
        size=size,
        projector="qformer",
        projector_options=MINIATURE_PROJECTORS,
        stages=SMALL[version],
        sources=Sources(llm=llm, image=image, prompt=f"{MINIATURE}bert"),
    )


SYSTEM = System(recipe=recipe, versions=("opt", "t5", "pformer"))
