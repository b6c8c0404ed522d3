"""Distances between an output projector's conditioning and the frozen text encoder's.

NExT-GPT (Wu et al., 2023, https://arxiv.org/abs/2309.05519) and GILL (Koh et al., 2023,
https://arxiv.org/abs/2305.17216) call their loss mean squared error; the code of the former computes the Euclidean
distance of each vector, ``sqrt(sum_d (y_d - t_d)^2)``, and the mean over vectors. With 768 values the two differ by two
orders of magnitude and weight errors differently, so each has its own name here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from inlay.hub.errors import InlayError

__all__ = ["DISTANCES", "Distance", "LossError", "conditioning_distance", "mse", "per_token_l2"]

Distance: TypeAlias = Literal["per_token_l2", "mse"]


class LossError(InlayError):
    """Conditioning and its target cannot be compared."""


def per_token_l2(conditioning: Tensor, target: Tensor) -> Tensor:
    """Mean over vectors of their Euclidean distance: ``[n, tokens, width]`` twice -> a scalar.

    Example:
        >>> per_token_l2(torch.zeros(1, 2, 4), torch.tensor([[[3.0, 0, 4, 0], [0, 1, 0, 0]]])).item()
        3.0
    """
    distances: Tensor = torch.linalg.vector_norm(conditioning - target, dim=-1)
    return distances.mean()


def mse(conditioning: Tensor, target: Tensor) -> Tensor:
    """Mean over all values of the squared difference: ``[n, tokens, width]`` twice -> a scalar.

    Example:
        >>> mse(torch.zeros(1, 2, 4), torch.tensor([[[3.0, 0, 4, 0], [0, 1, 0, 0]]])).item()
        3.25
    """
    return (conditioning - target).square().mean()


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"per_token_l2": per_token_l2, "mse": mse}
"""The distances by name."""


def conditioning_distance(conditioning: Tensor, target: Tensor, kind: Distance = "per_token_l2") -> Tensor:
    """One of the distances, in float32; the target gets no gradient.

    Args:
        conditioning: ``[n, tokens, width]`` of an output projector.
        target: ``[n, tokens, width]`` of the generator's own text encoder.
        kind: a key of :data:`DISTANCES`.

    Raises:
        LossError: the shapes differ, there are no media, or the distance is unknown.
    """
    if conditioning.shape != target.shape or not len(conditioning):
        raise LossError(
            f"expected conditioning and target of one shape [n, tokens, width] with n > 0, got "
            f"{list(conditioning.shape)} and {list(target.shape)}"
        )
    if kind not in DISTANCES:
        raise LossError(f"expected one of {', '.join(DISTANCES)}, got {kind!r}")
    return DISTANCES[kind](conditioning.float(), target.detach().float().to(conditioning.device))
