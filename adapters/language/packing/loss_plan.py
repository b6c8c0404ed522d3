"""The loss plan of a batch: labelled positions, targets and row lengths as index tensors.

All values that depend on masks and labels are computed here, on the CPU. With a plan from before the batch was moved to
its device, a training step needs no host sync.
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
    """The positions of the hidden states that predict a label.

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
    """``[n]``, the row of each label."""
    column: Tensor
    """``[n]``, the position of each label's prediction in its row."""
    width: int
    """Number of positions up to the last that predicts a label; a causal model needs no others for the loss."""
    place: Tensor
    """``[n]``, the position of each in the packed sequence."""
    sequence: Tensor
    """``[n]``, the index of each label's sequence: its row, or its branch, counted over all rows."""
    sequences: int = 0
    """Number of sequences: one for a row without branches, otherwise the number of its branches."""
    padded: bool = False
    """Whether there is padding among the positions that a decoder-only model computes."""
    packed: Packed | None = None
    """The packed positions; None if there is no padding, or if padding predicts a label."""

    @classmethod
    def of(cls, rows: Tensor, targets: Tensor, mask: Tensor, branches: Sequence[Sequence[int]] = ()) -> LossPlan:
        """A plan for a decoder-only model.

        Args:
            rows: ``[B, T]`` bool.
            targets: ``[rows.sum()]``.
            mask: ``[B, T]``, 1 where there is a token; padded on the right if rows have branches.
            branches: for each row the lengths of its prefix and its branches, or (); empty for plain rows.

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
        """The plan with the branch of each label; all positions are computed, since branches have no common end."""
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
