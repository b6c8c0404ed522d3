"""Alignment tuning of a trained adapter: preferences or rewards, from any bundle (``--begin RUN``).

The adapter is that of the bundle, with its parts, layout, name and system; its weights at the start are the reference.
Each version is a loss with its published settings:

* ``dpo`` (Rafailov et al., 2023, https://arxiv.org/abs/2305.18290): beta 0.1, the usual rate for LoRA in TRL, ms-swift
  and LLaMA-Factory; they also leave the projector frozen.
* ``mdpo`` (Wang et al., 2024, https://arxiv.org/abs/2406.11839): the authors' script: LoRA alone, 1e-5, weight decay
  0.05, 10 % warm-up, 3 epochs.
* ``symmpo`` (Liu et al., 2025, https://arxiv.org/abs/2506.11712): lambda 0.5, 5e-6; rows need a similar picture.
* ``chair_dpo`` (Compagnoni et al., 2025, https://arxiv.org/abs/2508.20181): beta 0.2, 2e-6; pairs of ``inlay pairs``
  with ``--reward objects``.
* ``mpo`` (Wang et al., 2024, https://arxiv.org/abs/2411.10442): the weighted sum of InternVL.
* ``simpo`` (Meng et al., 2024, https://arxiv.org/abs/2405.14734) and ``orpo`` (Hong et al., 2024,
  https://arxiv.org/abs/2403.07691): without reference.
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

Version: TypeAlias = Literal["dpo", "mdpo", "symmpo", "chair_dpo", "mpo", "simpo", "orpo", "kto", "grpo", "rloo"]

OBJECTIVES: dict[str, Objective] = {
    "dpo": Preference(loss="sigmoid", options={"beta": 0.1}),
    "mdpo": Preference(loss="mdpo", options={"beta": 0.1}),
    "symmpo": Preference(loss="symmpo"),
    "chair_dpo": Preference(loss="sigmoid", options={"beta": 0.2}),
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
RATES: dict[str, float] = {"symmpo": 5e-6, "chair_dpo": 2e-6, "orpo": 8e-6, "simpo": 1e-6, "grpo": 1e-6, "rloo": 1e-6}
"""Version -> published learning rate, where it is not 1e-5."""

# A small LLM needs higher learning rates.
MINIATURE = replace(PUBLISHED, lr={"lora": 3e-4}, batch_size=16, accumulate=1, epochs=1.5)
SAMPLED = {"grpo": 5e-4, "rloo": 5e-4}
"""Learning rates of the miniature for sampled answers."""


def with_stage(recipe: Recipe) -> Recipe:
    """Another system's recipe with a further stage *prefer* on ``--data.pairs``, in the layout of its last stage.

    Args:
        recipe: builds a new adapter.
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
    stage = MINIATURE if size == "miniature" else PUBLISHED
    rate = (SAMPLED if size == "miniature" else RATES).get(version)
    if version in SAMPLED:
        sizes: dict[str, Any] = {"batch_size": 8} if size == "full" else {"batch_size": 32, "max_steps": 60}
        stage = replace(stage, accumulate=1, epochs=1.0, **sizes)
    stage = replace(stage, objective=OBJECTIVES[version], lr=stage.lr if rate is None else {"lora": rate})
    if version == "mdpo" and size == "full":
        own = OptimizerSettings(weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)
        stage = replace(stage, epochs=3.0, optimizer=own)
    return Recipe(system="align", projector="", stages={PREFER: stage}, continues=True, version=version, size=size)


SYSTEM = System(recipe=recipe, versions=get_args(Version))
