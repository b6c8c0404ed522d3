"""The loss plan of a batch: labelled positions, targets and row lengths as index tensors.

Everything that depends on the values of masks and labels is computed here, on the CPU. With a plan that was made before
the batch moved to its device, a training step does not wait for the device to read a number back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    sequence: Tensor
    """``[n]``, the sequence of each: its row, or its branch, counted over all rows."""
    sequences: int = 0
    """Number of sequences: a row without branches is one, a row with branches as many as it has branches."""
    padded: bool = False
    """Whether there is padding among the positions that a decoder-only model reads."""
    packed: Packed | None = None
    """These positions without padding; None where there is none, and where padding predicts a label."""

    @classmethod
    def of(cls, rows: Tensor, targets: Tensor, mask: Tensor, branches: Sequence[Sequence[int]] = ()) -> LossPlan:
        """A plan for a decoder-only model.

        Args:
            rows: ``[B, T]`` bool.
            targets: ``[rows.sum()]``.
            mask: ``[B, T]``, 1 where there is a token; padded on the right if rows have branches.
            branches: for each row the lengths of its prefix and its branches, or nothing; empty for plain rows.

        Returns:
            The plan on the device of ``rows``.
        """
        plan = cls.of_target(rows.cpu(), targets)
        if any(branches):
            plan = plan._with_branches(branches, mask.shape[1])
        read = mask.cpu()[:, : plan.width]
        real = read.bool().flatten()
        if any(branches) or not bool(real.all()):
            plan = replace(plan, padded=not bool(real.all()))
            if bool(real[plan.place].all()):
                place = (real.long().cumsum(dim=0) - 1)[plan.place]
                plan = replace(plan, place=place, packed=Packed.of(read, branches if any(branches) else ()))
        return plan.to(rows.device)

    def _with_branches(self, branches: Sequence[Sequence[int]], width: int) -> LossPlan:
        """The plan with the branch of each label; all positions are read, since branches have no common end."""
        counts = torch.tensor([max(1, len(pieces) - 1) for pieces in branches])
        starts = torch.full((len(branches), int(counts.max())), width)
        for row, pieces in enumerate(branches):
            starts[row, : counts[row]] = torch.tensor(pieces[:-1]).cumsum(0) if pieces else 0
        branch = (starts[self.row] <= self.column[:, None]).sum(dim=1) - 1
        return replace(
            self,
            width=width,
            place=self.row * width + self.column,
            sequence=(counts.cumsum(0) - counts)[self.row] + branch,
            sequences=int(counts.sum()),
        )

    @classmethod
    def of_target(cls, rows: Tensor, targets: Tensor) -> LossPlan:
        """A plan for an encoder-decoder, whose rows ``[B, U]`` are those of the target."""
        row, column = rows.cpu().nonzero(as_tuple=True)
        width = int(column.max()) + 1 if len(column) else 0
        plan = cls(rows.cpu(), targets, row, column, width, row * width + column, row, len(rows))
        return plan.to(rows.device)

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> LossPlan:
        """The same plan on another device."""
        names = ("rows", "targets", "row", "column", "place", "sequence")
        moved: dict[str, Any] = {name: getattr(self, name).to(device) for name in names}
        return replace(self, **moved, packed=None if self.packed is None else self.packed.to(device))

    def pick(self, values: Tensor) -> Tensor:
        """``[B, T, n]`` -> ``[n rows, n]`` at the labelled positions; T may be any width from ``width`` on."""
        return values.flatten(0, 1).index_select(0, self.row * values.shape[1] + self.column)

    def pick_packed(self, values: Tensor) -> Tensor:
        """``[1, N, n]`` of the packed sequence -> ``[n rows, n]`` at the labelled positions."""
        return values[0].index_select(0, self.place)
