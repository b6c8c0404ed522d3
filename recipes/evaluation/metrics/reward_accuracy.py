"""Reward accuracy: the share of pairs whose chosen answer has a larger implicit reward than the rejected one.

The implicit reward is ``β (log π - log π_ref)``. The same pairs are scored with several *views* of the medium: the
right one, a blank one, one of another row. A policy that uses the medium is more accurate with the right one; if the
views agree, the preference was learned from the text alone.

For mDPO's image-conditional accuracy use a view of its own, with the chosen answer's reward given the right image as
``chosen`` and given the other image as ``rejected``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from inlay.recipes.evaluation.errors import MetricError

__all__ = ["VIEWS", "RewardAccuracy"]

VIEWS = ("right", "blank", "other")
"""The views of an audit."""


class RewardAccuracy(Metric):
    """Accuracy and mean margin for each view, over the views that have pairs.

    A tie counts as wrong, as in TRL, and is also reported: an untouched policy has only ties.

    Args:
        views: names of the views, fixed at construction, so that all processes have states of one shape.

    Raises:
        MetricError: no view, or the same one twice.

    Example:
        >>> metric = RewardAccuracy()
        >>> metric.update(torch.tensor([0.3, 0.1]), torch.tensor([0.1, 0.2]))
        >>> metric.update(torch.tensor([0.1, 0.1]), torch.tensor([0.1, 0.2]), view="blank")
        >>> {name: round(value.item(), 2) for name, value in metric.compute().items()}
        {'right': 0.5, 'margin/right': 0.05, 'ties/right': 0.0, 'blank': 0.0, 'margin/blank': -0.05, 'ties/blank': 0.5}
    """

    full_state_update = False
    is_differentiable = False
    wins: Tensor
    ties: Tensor
    pairs: Tensor
    margins: Tensor

    def __init__(self, views: Sequence[str] = VIEWS) -> None:
        super().__init__()
        if not views or len(set(views)) != len(views):
            raise MetricError(f"views: expected different names, got {list(views)}")
        self.views = tuple(views)
        for name in ("wins", "ties", "pairs"):
            self.add_state(name, torch.zeros(len(views), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("margins", torch.zeros(len(views), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, chosen: Tensor, rejected: Tensor, view: str = VIEWS[0]) -> None:
        """Add pairs.

        Args:
            chosen: ``[B]``, rewards of the chosen answers.
            rejected: ``[B]``, rewards of the rejected answers.
            view: one of the views.

        Raises:
            MetricError: different shapes, rewards that are not numbers, or an unknown view.
        """
        if view not in self.views:
            raise MetricError(f"view: expected one of {', '.join(self.views)}, got {view!r}")
        if chosen.ndim != 1 or chosen.shape != rejected.shape:
            raise MetricError(
                f"expected one reward for each chosen and each rejected answer, [B], got {list(chosen.shape)} and "
                f"{list(rejected.shape)}"
            )
        margins = (chosen.detach().double() - rejected.detach().double()).to(self.device)
        if margins.isnan().any():
            raise MetricError("rewards: expected numbers, got nan; the log-probabilities of a pair are not finite")
        place = self.views.index(view)
        self.wins[place] += (margins > 0).sum()
        self.ties[place] += (margins == 0).sum()
        self.pairs[place] += len(margins)
        self.margins[place] += margins.sum()

    def compute(self) -> dict[str, Tensor]:
        """``VIEW`` (accuracy, 0..1), ``margin/VIEW`` and ``ties/VIEW`` as float64, of each view with pairs."""
        figures = {}
        for place, view in enumerate(self.views):
            if pairs := self.pairs[place]:
                figures[view] = self.wins[place].double() / pairs
                figures[f"margin/{view}"] = self.margins[place] / pairs
                figures[f"ties/{view}"] = self.ties[place].double() / pairs
        return figures
