"""Alignment tuning of a trained adapter: preferences or rewards, from any bundle (``--begin RUN``).

The adapter is that of the bundle, with its parts, layout, name and system; its weights at the start are the reference.
Each version is a loss with its published settings:

* ``dpo`` (Rafailov et al., 2023, https://arxiv.org/abs/2305.18290): beta 0.1, the usual rate for LoRA in TRL, ms-swift
  and LLaMA-Factory; they also leave the projector frozen.
* ``mdpo`` (Wang et al., 2024, https://arxiv.org/abs/2406.11839): the authors' script: LoRA alone, 1e-5, weight decay
  0.05, 10 % warm-up, 3 epochs. The other picture is of three kinds (``other_image`` ``mixed``) instead of crops alone,
  see the page "What the systems learn" of the documentation.
* ``symmpo`` (Liu et al., 2025, https://arxiv.org/abs/2506.11712): lambda 0.5, 5e-6; rows need a similar picture.
* ``chair_dpo`` (Compagnoni et al., 2025, https://arxiv.org/abs/2508.20181): beta 0.2, 2e-6; pairs of ``inlay pairs``
  with ``--reward objects``.
* ``rpo`` (Pang et al., 2024, https://arxiv.org/abs/2404.19733): DPO and the supervised loss of the chosen answer with
  weight 1, which keeps its likelihood high; for pairs of ``inlay pairs``.
* ``mpo`` (Wang et al., 2024, https://arxiv.org/abs/2411.10442): the weighted sum of InternVL.
* ``simpo`` (Meng et al., 2024, https://arxiv.org/abs/2405.14734) and ``orpo`` (Hong et al., 2024,
  https://arxiv.org/abs/2403.07691): without reference. The papers train the whole LLM, at 3e-7 to 1e-6 and 8e-6; LoRA
  has the usual rate for LoRA.
* ``kto`` (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306): single answers with a label.
* ``grpo`` (Shao et al., 2024, https://arxiv.org/abs/2402.03300) and ``rloo`` (Ahmadian et al., 2024,
  https://arxiv.org/abs/2402.14740): sampled answers and a reward, as in TRL 1.16.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias, get_args

from inlay.recipes.objectives.policy_gradient.settings import Grpo, Rloo
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.objective import Objective
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.recipe import Recipe, Size
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.registry import System

__all__ = ["PREFER", "SYSTEM", "Version", "recipe", "with_stage"]

Version: TypeAlias = Literal["dpo", "mdpo", "symmpo", "chair_dpo", "rpo", "mpo", "simpo", "orpo", "kto", "grpo", "rloo"]

OBJECTIVES: dict[str, Objective] = {
    "dpo": Preference(loss="sigmoid", options={"beta": 0.1}),
    "mdpo": Preference(loss="mdpo", options={"beta": 0.1}),
    "symmpo": Preference(loss="symmpo"),
    "chair_dpo": Preference(loss="sigmoid", options={"beta": 0.2}),
    "rpo": Preference(loss="rpo"),
    "mpo": Preference(loss="mpo"),
    "simpo": Preference(loss="simpo", options={"beta": 2.0, "gamma": 1.0}),
    "orpo": Preference(loss="orpo"),
    "kto": Preference(loss="kto", options={"beta": 0.1}),
    "grpo": Grpo(),
    "rloo": Rloo(),
}
"""Version -> loss. SimPO's settings are those of ms-swift 4.6; TRL's default of beta 0.1 is far from the paper's."""

# A batch of 32 pairs, or 8 questions with 8 answers each, fits one GPU; the published ones differ with the hardware.
PUBLISHED = Stage(
    data="train",
    template="auto",
    geometry="pad",
    lr={"lora": 1e-5},
    batch_size=32,
    accumulate=8,
    optimizer=OptimizerSettings(warmup=0.1),
)
PREFER = "prefer"
"""Name of the stage."""
# A small LLM needs higher learning rates.
MINIATURE = replace(PUBLISHED, lr={"lora": 3e-4}, batch_size=16, accumulate=1, epochs=1.5)

# Sampled answers: their mean length is known only if a step is one micro-batch.
_SAMPLED: dict[str, Any] = {"lr": {"lora": 1e-6}, "batch_size": 8, "accumulate": 1}
_SAMPLED_MINIATURE: dict[str, Any] = {"lr": {"lora": 2e-3}, "batch_size": 32, "max_steps": 120, "epochs": 1.0}
FIELDS: dict[Size, dict[str, dict[str, Any]]] = {
    "full": {
        "mdpo": {"epochs": 3.0, "optimizer": OptimizerSettings(weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)},
        "symmpo": {"lr": {"lora": 5e-6}},
        "chair_dpo": {"lr": {"lora": 2e-6}},
        "grpo": _SAMPLED,
        "rloo": _SAMPLED,
    },
    "miniature": {
        # At this rate the supervised term needs more weight to keep the answers to other questions.
        "rpo": {"lr": {"lora": 8e-4}, "objective": Preference(loss="rpo", options={"alpha": 2.0})},
        # The answers to most of a miniature's questions all have one reward.
        "grpo": {**_SAMPLED_MINIATURE, "objective": Grpo(replacements=2)},
        "rloo": {**_SAMPLED_MINIATURE, "lr": {"lora": 5e-4}, "objective": Rloo(replacements=2)},
    },
}
"""Size -> version -> fields of the stage that differ from those of DPO."""


def with_stage(recipe: Recipe) -> Recipe:
    """Another system's recipe with a further stage *prefer* on ``--data.pairs``, in the layout of its last stage.

    Args:
        recipe: a recipe that builds a new adapter.
    """
    last = list(recipe.stages.values())[-1]
    stage = MINIATURE if recipe.size == "miniature" else PUBLISHED
    own = ("template", "system", "geometry", "tiling", "prompt", "arguments")
    part = "inputs" if recipe.lora is None else "lora"
    laid: dict[str, Any] = {name: getattr(last, name) for name in own}
    added = replace(stage, data="pairs", objective=Preference(), lr={part: stage.lr["lora"]}, **laid)
    return replace(recipe, stages={**recipe.stages, PREFER: added})


def recipe(version: Version = "dpo", size: Size = "miniature") -> Recipe:
    """One stage, *prefer*, on the adapter of ``--begin``.

    Args:
        version: the loss and its settings.
        size: the published settings, or those for the embedded miniature.
    """
    base = MINIATURE if size == "miniature" else PUBLISHED
    stage = replace(base, **{"objective": OBJECTIVES[version], **FIELDS[size].get(version, {})})
    return Recipe(system="align", projector="", stages={PREFER: stage}, continues=True, version=version, size=size)


SYSTEM = System(recipe=recipe, versions=get_args(Version))
