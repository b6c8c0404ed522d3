"""Checking that two sides do the same work: losses, gradients, loss curves of fifty steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["apart", "curve_gap", "differ", "train_step"]


def train_step(loss: Callable[[], Tensor], trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Run forward and backward; return the loss and the gradients."""
    for parameter in trained.values():
        parameter.grad = None
    value = loss()
    torch.autograd.backward(value)
    found = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
    for parameter in trained.values():
        parameter.grad = None
    return {"loss": value.detach(), **found}


def differ(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The largest relative difference, of the loss or of any gradient.

    A gradient with a norm below 1e-4 of the largest norm is compared relative to that bound: the gradient of the keys'
    bias, for instance, is zero up to rounding, because softmax is invariant to a constant.

    Raises:
        ValueError: the two sides train different tensors.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"the sides train different tensors: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    norms = {name: float(value.norm()) for name, value in theirs.items()}
    floor = 1e-4 * max((norm for name, norm in norms.items() if name != "loss"), default=0.0)
    return max(float((ours[name] - value).norm()) / max(norms[name], floor) for name, value in theirs.items())


def apart(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """Relative difference of all tensors together; in bfloat16 that of a small tensor alone is mostly rounding.

    Raises:
        ValueError: the two sides train different tensors.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"the sides train different tensors: {sorted(ours.keys() ^ theirs.keys())[:4]}")
    gaps = torch.stack([(ours[name].float() - value.float()).square().sum() for name, value in theirs.items()])
    whole = torch.stack([value.float().square().sum() for value in theirs.values()])
    return float((gaps.sum() / whole.sum()).sqrt())


def curve_gap(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest relative difference of two loss curves at any step.

    Raises:
        ValueError: curves of different lengths.

    Example:
        >>> round(curve_gap([2.0, 1.01], [2.0, 1.0]), 3)
        0.01
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"expected two curves of one length, got {len(ours)} and {len(theirs)} steps")
    return max(abs(mine - yours) / max(abs(yours), 1e-12) for mine, yours in zip(ours, theirs, strict=True))
