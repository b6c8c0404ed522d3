"""How far a conditioning is from what the generator's own text encoder says.

NExT-GPT's papers speak of a mean squared error; the released code takes the Euclidean norm of each vector, which pulls
as hard at a near target as at a far one (Wu et al., 2023, https://arxiv.org/abs/2309.05519). Both are here by their
right names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["DISTANCES", "mse", "per_token_l2"]


def per_token_l2(given: Tensor, wanted: Tensor) -> Tensor:
    """Mean over all vectors of ``||given - wanted||``; both ``[n, tokens, width]``.

    Example:
        >>> import torch
        >>> float(per_token_l2(torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1, 2)))
        5.0
    """
    norms: Tensor = torch.linalg.vector_norm(given - wanted, dim=-1)
    return norms.mean()


def mse(given: Tensor, wanted: Tensor) -> Tensor:
    """Mean over all numbers of ``(given - wanted)^2``; both ``[n, tokens, width]``.

    Example:
        >>> import torch
        >>> float(mse(torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1, 2)))
        12.5
    """
    return F.mse_loss(given, wanted)


DISTANCES: dict[Literal["l2", "mse"], Callable[[Tensor, Tensor], Tensor]] = {"l2": per_token_l2, "mse": mse}
"""Setting -> distance."""
