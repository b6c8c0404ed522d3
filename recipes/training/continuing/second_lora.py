"""A second LoRA on a frozen first one, as one LoRA of the summed rank.

``s B1 A1 x + s B2 A2 x = s [B1 B2] [A1; A2] x``: with the same scale ``s`` the two are one LoRA, which a bundle stores
and PEFT reads like any other. ``B2`` starts at zero, so the model starts as it was. The first ranks are kept by setting
their gradient to zero; they have no weight decay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.adapter import Adapter
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.recipes.settings.errors import SettingsError

__all__ = ["add_second_lora"]


def add_second_lora(adapter: Adapter, rank: int, seed: int = 0) -> None:
    """Widen the LoRA of an adapter that is not attached; from then on only the new ranks train.

    Args:
        adapter: its LoRA is replaced by one of rank ``r + rank`` with the same output.
        rank: of the second LoRA.
        seed: of its initial weights.

    Raises:
        SettingsError: the adapter has no LoRA.
        LoraError: the summed rank is too large.
    """
    first = adapter.lora
    if first is None:
        raise SettingsError("second_lora: expected an adapter with LoRA, and this one has none; leave it out")
    own, both = first.config.r, first.config.r + rank
    config = replace(first.config, r=both, alpha=first.config.scale * both)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        second = LoraPart(config, first.shapes)
    second.about = f"{first.about}; a second LoRA of rank {rank} trains, the first {own} ranks are frozen".lstrip("; ")
    with torch.no_grad():
        for target in first.targets:
            for new, old, dim in zip(second.matrices(target), first.matrices(target), (0, 1), strict=True):
                new.narrow(dim, 0, own).copy_(old)
                _keep(new, own, dim)
    second.kept_ranks = own
    adapter.lora = second.train(first.training)


def _keep(matrix: Any, ranks: int, dim: int) -> None:
    """Set the gradient of the first ranks to zero."""

    def masked(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient.narrow(dim, 0, ranks).zero_()
        return gradient

    register: Any = matrix.register_hook
    register(masked)
