"""Muon, the optimizer that the miniature vision towers and BERT are pretrained with: momentum, orthogonalised.

Keller Jordan et al., https://kellerjordan.github.io/posts/muon/; steps are scaled to the size of AdamW's as in
https://arxiv.org/abs/2502.16982. torch's own iterates in bfloat16, which processors without bfloat16 arithmetic do
several times slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor, nn

Scheduled: TypeAlias = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration
_ITERATIONS = 5
_ADAMW_SIZE = 0.2  # root mean square of an AdamW step, in units of the learning rate


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values near one, by Newton-Schulz iteration.

    Args:
        matrices: Shape (batch, rows, columns), fp32.

    Returns:
        The same shape; singular values between about 0.7 and 1.2.
    """
    a, b, c = _NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for the matrices inside the layers; everything else belongs to AdamW.

    Args:
        params: Matrices; those of one shape are handled together.
        lr: Learning rate, on AdamW's scale.
        momentum: Decay of the running mean of gradients, with Nesterov's look ahead.
        weight_decay: Decoupled, in units of `lr`.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, *, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all matrices from their gradients."""
        del closure  # the loss is never evaluated again
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for same in by_shape.values():
                self._update(same, group)

    def _update(self, same: list[Tensor], group: dict[str, Any]) -> None:
        gradients = torch.stack([parameter.grad for parameter in same if parameter.grad is not None])
        state = self.state[same[0]]
        mean = state.setdefault("mean", torch.zeros_like(gradients)).lerp_(gradients, 1 - group["momentum"])
        steps = orthogonalise(gradients.lerp(mean, group["momentum"]))
        size = group["lr"] * _ADAMW_SIZE * max(same[0].shape) ** 0.5
        for parameter, step in zip(same, steps, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-size)


def optimizers(
    model: nn.Module,
    *,
    lr: float,
    matrix_lr: float,
    warm_up: int,
    decay: float,
    steps: int,
    inside: str = "layers",
) -> list[Scheduled]:
    """Muon for the matrices of a model's layers, AdamW for the rest, each with its schedule.

    Args:
        model: Matrices whose name contains `inside` are Muon's.
        lr: AdamW's learning rate.
        matrix_lr: Muon's.
        warm_up: Steps of linear warm-up; then the rates are constant.
        decay: The last share of the steps, in which they fall linearly to zero.
        steps: All steps.
        inside: What the model calls the list of its layers.
    """
    named = list(model.named_parameters())
    matrices = [parameter for name, parameter in named if parameter.ndim == 2 and inside in name]
    rest = [parameter for name, parameter in named if not (parameter.ndim == 2 and inside in name)]
    both = Muon(matrices, matrix_lr), torch.optim.AdamW(rest, lr, betas=(0.9, 0.98), weight_decay=0.01)

    def rate(step: int) -> float:
        return min((step + 1) / warm_up, (steps - step) / (decay * steps), 1.0)

    return [(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)) for optimizer in both]
