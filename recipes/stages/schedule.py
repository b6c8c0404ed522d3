"""The optimizer that all stages share: AdamW, a group a part, warm-up, then cosine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from inlay.adapters.parts.part import Part
from inlay.recipes.recipe import RecipeError, Stage

__all__ = ["choose_parts", "optimizer_for", "rate_of", "warmup_cosine"]


def rate_of(name: str, lr: Mapping[str, float]) -> float | None:
    """The learning rate of a part: its own, or that of its group; None where it is frozen.

    Example:
        >>> lr = {"inputs": 1e-3, "inputs.audio": 1e-4}
        >>> rate_of("inputs.image", lr), rate_of("inputs.audio", lr), rate_of("lora", lr)
        (0.001, 0.0001, None)
    """
    return lr.get(name, lr.get(_group(name)))


def _group(name: str) -> str:
    """``inputs`` of ``inputs.image``: which side of the LLM a part is on, as its own name declares."""
    return name.partition(".")[0]


def choose_parts(parts: Iterable[Part], stage: Stage) -> None:
    """Let the parts with a learning rate train, and freeze the others.

    Raises:
        RecipeError: the stage names a part that is not there.
    """
    held = list(parts)
    names = [part.name for part in held]
    if unknown := set(stage.lr) - {*names, *map(_group, names)}:
        raise RecipeError(f"lr: no part is called {', '.join(sorted(unknown))}; this adapter has {', '.join(names)}")
    if idle := set(stage.lr) - {name if name in stage.lr else _group(name) for name in names}:
        raise RecipeError(
            f"lr: {', '.join(sorted(idle))} has no effect, as each of its parts has a learning rate of its own; leave "
            "one of them out"
        )
    for part in held:
        part.module.requires_grad_(rate_of(part.name, stage.lr) is not None)


def optimizer_for(parts: Iterable[Part], stage: Stage, steps: int) -> OptimizerLRSchedulerConfig:
    """AdamW with one group a part, each with its own learning rate; warm-up, then cosine.

    Args:
        parts: those without a learning rate in the stage are left out, and so are frozen tensors.
        stage: rates, moments, weight decay and schedule.
        steps: optimizer steps of the whole stage.
    """
    groups = [
        {"params": [p for p in part.module.parameters() if p.requires_grad], "lr": rate, "name": part.name}
        for part in parts
        if (rate := rate_of(part.name, stage.lr)) is not None
    ]
    optimizer = AdamW(groups, betas=stage.betas, weight_decay=stage.weight_decay)
    schedule = LambdaLR(optimizer, warmup_cosine(steps, stage.rise(steps), start=stage.start, floor=stage.floor))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(steps: int, rise: int, *, start: float = 0.0, floor: float = 0.0) -> Callable[[int], float]:
    """Factor on the learning rate by step: linear to 1 over the warm-up, then half a cosine down to the floor.

    Args:
        steps: of the whole stage.
        rise: steps of the warm-up.
        start: where the warm-up starts from.
        floor: where the cosine ends.

    Example:
        >>> factor = warmup_cosine(100, 10)
        >>> [round(factor(step), 2) for step in (0, 9, 10, 55, 99)]
        [0.1, 1.0, 1.0, 0.5, 0.0]
        >>> round(warmup_cosine(100, 10, floor=0.5)(99), 2)
        0.5
    """

    def factor(step: int) -> float:
        if step < rise:
            return start + (1 - start) * (step + 1) / rise
        share = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
        return floor + (1 - floor) * share

    return factor
