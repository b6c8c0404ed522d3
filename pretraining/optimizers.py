"""Optimizers with their schedules: warm-up, a constant learning rate, a linear decay to zero.

Muon (https://kellerjordan.github.io/posts/muon/) is torch's, with steps of the size of AdamW's
(https://arxiv.org/abs/2502.16982). It updates the matrices inside the layers; AdamW updates all other parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import nn

Scheduled: TypeAlias = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]


def scheduled(optimizer: torch.optim.Optimizer, *, steps: int, warm_up: int, decay: float) -> Scheduled:
    """An optimizer with its schedule.

    Args:
        optimizer: Its learning rates are those between warm-up and decay.
        steps: All steps.
        warm_up: Steps in which the rate rises linearly.
        decay: The share of the steps at the end in which the rate falls linearly to zero; 0 for none.
    """

    def factor(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / (decay * steps) if decay and steps else 1.0, 1.0)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def muon_and_adamw(
    model: nn.Module,
    *,
    lr: float,
    matrix_lr: float,
    warm_up: int,
    decay: float,
    steps: int,
    inside: str = "layers",
) -> list[Scheduled]:
    """Muon for the matrices of a model's layers, AdamW for the other parameters.

    Args:
        model: Muon updates the matrices whose names contain `inside`.
        lr: Learning rate of AdamW.
        matrix_lr: Learning rate of Muon, on AdamW's scale.
        warm_up: See `scheduled`.
        decay: See `scheduled`.
        steps: All steps.
        inside: The name of the model's list of layers.
    """
    named = list(model.named_parameters())
    matrices = [parameter for name, parameter in named if parameter.ndim == 2 and inside in name]
    rest = [parameter for name, parameter in named if not (parameter.ndim == 2 and inside in name)]
    both = (
        torch.optim.Muon(matrices, lr=matrix_lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr, betas=(0.9, 0.98), weight_decay=0.01),
    )
    return [scheduled(optimizer, steps=steps, warm_up=warm_up, decay=decay) for optimizer in both]
