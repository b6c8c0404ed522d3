"""Another rank for a LoRA by singular values (Eckart and Young, 1936, https://doi.org/10.1007/BF02288367).

``B A`` of rank ``r`` becomes the nearest product of rank ``k``. It is never formed: with ``B = Q R`` and
``A^T = P S`` the singular values of ``B A`` are those of ``R S^T``, an ``r x r`` matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Reranked", "rerank"]


@dataclass(frozen=True)
class Reranked:
    """A LoRA of another rank, with the same scale."""

    downs: Mapping[str, Tensor]
    """Module -> ``A`` ``[rank, in]``."""
    ups: Mapping[str, Tensor]
    """Module -> ``B`` ``[out, rank]``."""
    error: float
    """``|B A - B' A'| / |B A|`` over all modules together, in the Frobenius norm."""
    worst: float
    """The largest of the same ratio over the modules."""


def rerank(downs: Mapping[str, Tensor], ups: Mapping[str, Tensor], rank: int) -> Reranked:
    """The nearest LoRA of a rank.

    Args:
        downs: module -> ``A`` ``[r, in]``.
        ups: module -> ``B`` ``[out, r]``.
        rank: the new one; a higher one adds zeros and changes nothing.

    Example:
        >>> one = {"x": torch.diag(torch.tensor([2.0, 1.0]))}
        >>> round(rerank(one, one, 1).error ** 2 * 17, 6)  # of the squares 16 and 1, the smaller is lost
        1.0
    """
    new_downs, new_ups, lost, whole = {}, {}, [], []
    for name, down in downs.items():
        held = down.shape[0]
        if rank >= held:
            new_downs[name] = pad(down, (0, 0, 0, rank - held))
            new_ups[name] = pad(ups[name], (0, rank - held))
            lost.append(0.0)
            whole.append(1.0)
            continue
        left, inner = torch.linalg.qr(ups[name].double())
        right, outer = torch.linalg.qr(down.double().T)
        u, values, v = torch.linalg.svd(inner @ outer.T)
        root = values[:rank].sqrt()
        new_ups[name] = (left @ u[:, :rank] * root).to(ups[name].dtype)
        new_downs[name] = (root[:, None] * (v[:rank] @ right.T)).to(down.dtype)
        lost.append(float(values[rank:].square().sum()))
        whole.append(float(values.square().sum()))
    ratios = [(part / total) ** 0.5 if total else 0.0 for part, total in zip(lost, whole, strict=True)]
    total = sum(whole)
    return Reranked(new_downs, new_ups, (sum(lost) / total) ** 0.5 if total else 0.0, max(ratios, default=0.0))
