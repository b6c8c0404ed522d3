"""The optimizer of all stages: AdamW with a learning rate per part, warm-up, then cosine, linear or no decay.

Weight decay applies to tensors of at least two dimensions (matrices and embedding tables), not to biases, scales of
norms or a learned temperature. This is the rule of LAVIS, the code of BLIP-2 and InstructBLIP, and of MiniGPT-4, which
builds on it (``get_optimizer_params``: no decay if ``p.ndim < 2 or "bias" in n or "ln" in n or "bn" in n``); the
Trainer of transformers, used by LLaVA, also exempts biases and norms. Query tokens and the Q-Former's word table have
at least two dimensions and decay in LAVIS, so they decay here; so do the rows of new tokens, like the whole embedding
matrices in NExT-GPT's and ModaVerse's code (DeepSpeed's Adam, one group for all tensors).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from inlay.adapters.core.parts import NEWLINE
from inlay.adapters.parts.part import Part
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.optimizer import Schedule
from inlay.recipes.settings.stage import Stage, group_of, rate_key, rate_of

__all__ = ["choose_parts", "decays", "learning_rate", "optimizer_for"]


def choose_parts(parts: Iterable[Part], stage: Stage) -> None:
    """Make the parts with a learning rate trainable, and freeze the others.

    The newline of tiled pictures is also frozen in a stage whose tiling has none.

    Raises:
        RecipeError: the stage names an unknown part, or one without effect.
    """
    held = list(parts)
    names = [part.name for part in held]
    if unknown := set(stage.lr) - {*names, *map(group_of, names)}:
        raise RecipeError(f"lr: no part is called {', '.join(sorted(unknown))}; this adapter has {', '.join(names)}")
    if idle := set(stage.lr) - {rate_key(name, stage.lr) for name in names}:
        raise RecipeError(
            f"lr: {', '.join(sorted(idle))} has no effect, because each of its parts has its own learning rate; "
            "remove one of them"
        )
    rule = stage.layout.tiling_for("image")
    unused = () if rule is not None and rule.newline else (NEWLINE,)
    if NEWLINE in stage.lr and unused:
        raise RecipeError(
            f"lr: {NEWLINE} has no effect, because the tiling of this stage ({stage.tiling or 'none'}) has no newline; "
            "remove it, or set tiling to anyres"
        )
    for part in held:
        part.module.requires_grad_(rate_of(part.name, stage.lr) is not None and part.name not in unused)


def optimizer_for(
    parts: Iterable[Part],
    stage: Stage,
    steps: int,
    make: Callable[[list[dict[str, Any]]], Optimizer] | None = None,
) -> OptimizerLRSchedulerConfig:
    """AdamW with a learning rate per part; warm-up, then the stage's schedule.

    Args:
        parts: parts without a learning rate in the stage, and frozen tensors, are left out.
        stage: rates, moments, weight decay and schedule.
        steps: optimizer steps of the whole stage.
        make: parameter groups -> optimizer, instead of AdamW.
    """
    groups = [
        group
        for part in parts
        if (rate := rate_of(part.name, stage.lr)) is not None
        for group in _groups_of(part, rate, stage.optimizer.weight_decay)
        if group["params"]
    ]
    chosen = stage.optimizer
    optimizer = AdamW(groups, betas=chosen.betas, weight_decay=chosen.weight_decay) if make is None else make(groups)
    factor = learning_rate(steps, chosen.rise(steps), chosen.schedule, start=chosen.start, floor=chosen.floor)
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
    }


def decays(parameter: nn.Parameter) -> bool:
    """Whether weight decay applies to a tensor: true for a matrix or table, false for biases, norms and scalars."""
    return parameter.ndim >= 2


def _groups_of(part: Part, rate: float, weight_decay: float) -> Iterator[dict[str, Any]]:
    """One group with and one without decay; a single group if weight decay is 0."""
    trained = [parameter for parameter in part.module.parameters() if parameter.requires_grad]
    if getattr(part.module, "kept_ranks", 0):  # decay would change the frozen ranks of the same matrices
        yield {"params": trained, "lr": rate, "name": part.name, "weight_decay": 0.0}
        return
    if not weight_decay:
        yield {"params": trained, "lr": rate, "name": part.name}
        return
    for decayed, name in ((True, part.name), (False, f"{part.name} (no decay)")):
        if chosen := [parameter for parameter in trained if decays(parameter) is decayed]:
            yield {"params": chosen, "lr": rate, "name": name, "weight_decay": weight_decay if decayed else 0.0}


def learning_rate(
    steps: int, rise: int, schedule: Schedule = "cosine", *, start: float = 0.0, floor: float = 0.0
) -> Callable[[int], float]:
    """Factor on the learning rate as a function of the step: linear to 1 over the warm-up, then decay or constant.

    Args:
        steps: optimizer steps of the whole stage.
        rise: warm-up steps.
        schedule: ``cosine`` (half a period), ``linear`` or ``constant`` after the warm-up.
        start: factor from which the warm-up starts.
        floor: factor at which the decay ends.

    Example:
        >>> factor = learning_rate(100, 10)
        >>> [round(factor(step), 2) for step in (0, 9, 10, 55, 99)]
        [0.1, 1.0, 1.0, 0.5, 0.0]
        >>> [round(learning_rate(100, 10, "linear", floor=0.5)(step), 2) for step in (10, 55, 100)]
        [1.0, 0.75, 0.5]
        >>> learning_rate(100, 10, "constant")(99)
        1.0
    """

    def factor(step: int) -> float:
        if step < rise:
            return start + (1 - start) * (step + 1) / rise
        if schedule == "constant":
            return 1.0
        done = min(1.0, (step - rise) / max(1, steps - rise))
        left = 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return floor + (1 - floor) * left

    return factor
