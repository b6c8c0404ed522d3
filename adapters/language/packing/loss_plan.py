"""The loss plan of a batch: labelled positions, targets and row lengths as index tensors.

Everything that depends on the values of masks and labels is computed here, on the CPU. With a plan that was made before
the batch moved to its device, a training step does not wait for the device to read a number back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inlay.adapters.language.packing.packed_attention import Packed

__all__ = ["LossPlan"]


@dataclass(frozen=True, eq=False)
class LossPlan:
    """Which rows of the hidden states predict a label.

    Example:
        >>> rows = torch.tensor([[False, True, False, False], [True, False, False, False]])
        >>> plan = LossPlan.of(rows, torch.tensor([7, 8]), torch.ones(2, 4, dtype=torch.long))
        >>> plan.row.tolist(), plan.column.tolist(), plan.width
        ([0, 1], [1, 0], 2)
    """

    rows: Tensor
    """``[B, T]`` bool (``[B, U]`` of an encoder-decoder's target): True where a label is predicted."""
    targets: Tensor
    """``[n]``, the labels in the order of ``rows``."""
    row: Tensor
    """``[n]``, the row of each."""
    column: Tensor
    """``[n]``, the position of each in its row."""
    width: int
    """Positions up to the last that predicts a label; a causal model needs no others for the loss."""
    place: Tensor
    """``[n]``, where each stands in the packed sequence."""
    padded: bool = False
    """Whether there is padding among the positions that a decoder-only model reads."""
    packed: Packed | None = None
    """These positions without padding; None where there is none, and where padding predicts a label."""

    @classmethod
    def of(cls, rows: Tensor, targets: Tensor, mask: Tensor) -> LossPlan:
        """A plan for a decoder-only model.

        Args:
            rows: ``[B, T]`` bool.
            targets: ``[rows.sum()]``.
            mask: ``[B, T]``, 1 where there is a token.

        Returns:
            The plan on the device of ``rows``.
        """
        plan = cls.of_target(rows.cpu(), targets)
        read = mask.cpu()[:, : plan.width]
        real = read.bool().flatten()
        if not bool(real.all()):
            plan = replace(plan, padded=True)
            if bool(real[plan.place].all()):
                place = (real.long().cumsum(dim=0) - 1)[plan.place]
                plan = replace(plan, place=place, packed=Packed.of(read))
        return plan.to(rows.device)

    @classmethod
    def of_target(cls, rows: Tensor, targets: Tensor) -> LossPlan:
        """A plan for an encoder-decoder, whose rows ``[B, U]`` are those of the target."""
        row, column = rows.cpu().nonzero(as_tuple=True)
        width = int(column.max()) + 1 if len(column) else 0
        return cls(rows.cpu(), targets, row, column, width, row * width + column).to(rows.device)

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> LossPlan:
        """The same plan on another device."""
        return LossPlan(
            self.rows.to(device),
            self.targets.to(device),
            self.row.to(device),
            self.column.to(device),
            self.width,
            self.place.to(device),
            self.padded,
            None if self.packed is None else self.packed.to(device),
        )

    def pick(self, values: Tensor) -> Tensor:
        """``[B, T, n]`` -> ``[n rows, n]`` at the labelled positions; T may be any width from ``width`` on."""
        return values.flatten(0, 1).index_select(0, self.row * values.shape[1] + self.column)

    def pick_packed(self, values: Tensor) -> Tensor:
        """``[1, N, n]`` of the packed sequence -> ``[n rows, n]`` at the labelled positions."""
        return values[0].index_select(0, self.place)
