"""Matrices of a LoRA for every row of a batch, as :mod:`inlay.adapters.llm_parts.lora_per_row` prepares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import get_ident
from typing import TypeAlias

import torch
from torch import Tensor

from inlay.adapters.language.precision import computed_in
from inlay.adapters.llm_parts.lora_config import LoraError

__all__ = ["PerRow", "RowMatrices", "RowsByTarget"]


@dataclass(frozen=True)
class RowMatrices:
    """The matrices of one linear for all rows: ``A`` transposed, and ``B`` transposed and multiplied by the scale."""

    downs: Tensor
    """``[rows, in, r]``."""
    ups: Tensor
    """``[rows, r, out]``."""

    def add(self, x: Tensor, output: Tensor) -> Tensor:
        """The linear's output plus each row's own update.

        Args:
            x: ``[rows * beams, T, in]``, or flattened over positions.
            output: the output of the linear, ``[..., out]``.
        """
        if x.shape[0] % len(self.downs):
            raise LoraError(
                f"one LoRA for each row: expected a multiple of {len(self.downs)} rows, got an input of {[*x.shape]}"
            )
        dtype = computed_in(x)
        own = x.reshape(len(self.downs), -1, x.shape[-1]).to(dtype)
        change = torch.bmm(torch.bmm(own, self.downs.to(dtype)), self.ups.to(dtype))
        return output + change.view(output.shape).to(output.dtype)


RowsByTarget: TypeAlias = Mapping[str, RowMatrices]


class PerRow:
    """The matrices of each thread that uses one LoRA for each row; other threads are not affected."""

    def __init__(self) -> None:
        self.active: dict[int, RowsByTarget] = {}
        """Thread id -> matrices; a plain dictionary, because torch.compile can test whether it is empty."""

    def of(self, target: str) -> RowMatrices | None:
        """The matrices of one linear in this thread."""
        return self.active.get(get_ident(), {}).get(target)

    def replace(self, rows: RowsByTarget | None) -> RowsByTarget | None:
        """Set the matrices of this thread; returns the previous ones."""
        before = self.active.pop(get_ident(), None)
        if rows is not None:
            self.active[get_ident()] = rows
        return before
