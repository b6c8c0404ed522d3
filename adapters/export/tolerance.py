"""How far the logits of an exported model may be from those of the attached adapter."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["allowed_difference"]

_SHARE = 1e-2
_SHARE_16_BIT = 0.1


def allowed_difference(logits: Tensor, dtype: torch.dtype) -> float:
    """The largest difference that rounding may cause: 1 % of the logits' standard deviation in float32, 10 % in 16 bit.

    In 16 bit a merged LoRA is rounded together with the weight that it is added to. In float32 real models multiply
    the last bit of an early layer by thousands (0.07 % was seen on SmolLM2); a missing or misplaced LoRA changes
    far more than 1 %.

    Args:
        logits: of the attached adapter; minus infinity is ignored.
        dtype: in which the language model computes.

    Example:
        >>> round(allowed_difference(torch.tensor([-1.0, 1.0]), torch.float32), 6)
        0.014143
    """
    share = _SHARE if dtype == torch.float32 else _SHARE_16_BIT
    return share * float(logits[logits.isfinite()].float().std()) + 1e-6
