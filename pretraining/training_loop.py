"""The training loop of all pretraining scripts, and batches of texts of similar length."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from torch import Tensor, nn

    from pretraining.optimizers import Scheduled

Row = TypeVar("Row", bound="tuple[Sequence[int], Sequence[int | bool]]")

PRINT_EVERY, REPORT_EVERY = 50, 250  # steps


def train(
    model: nn.Module,
    losses: Callable[[int], dict[str, Tensor]],
    optimizers: list[Scheduled],
    *,
    steps: int,
    report: Callable[[], None],
) -> None:
    """Train in place; gradients are clipped at 1.

    Args:
        model: A model in training mode, before and after.
        losses: Function from the step, counted from 1, to its losses by name; their sum is minimised.
        optimizers: Optimizers with their schedules, which advance once per step.
        steps: All steps.
        report: Called in evaluation mode every `REPORT_EVERY` steps and at the end.
    """
    began = time.perf_counter()
    total: dict[str, float] = {}
    for step in range(1, steps + 1):
        parts = losses(step)
        model.zero_grad()
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in optimizers:
            optimizer.step()
            schedule.step()
        for name, loss in parts.items():
            total[name] = total.get(name, 0.0) + loss.item() / PRINT_EVERY
        if step % PRINT_EVERY == 0:
            means = " ".join(f"{name} {mean:.3f}" for name, mean in total.items())
            print(f"step {step}/{steps} {means} seconds {time.perf_counter() - began:.0f}", flush=True)
            total = {}
        if step % REPORT_EVERY == 0 or step == steps:
            model.train(mode=False)
            report()
            model.train()


def by_length(rows: list[Row], size: int, rng: Random) -> list[list[Row]]:
    """Batches of rows (token ids first) of similar length, which need little padding, in random order."""
    ordered = sorted(rows, key=lambda row: len(row[0]))
    cut = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    rng.shuffle(cut)
    return cut
