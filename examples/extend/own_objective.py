"""An objective: next-token prediction with the focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002).

    inlay train llava --import own_objective.py --stages.instruct.objective.name focal

Tokens that are predicted well already count less: ``(1 - p) ** gamma`` times the cross-entropy. The fields are the
settings; ``terms`` returns the mean over a micro-batch and its unit (here labelled tokens), so that accumulation and
several processes give the gradient of the whole optimizer step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch.nn.functional import cross_entropy

from inlay.adapters.core.batch import Batch
from inlay.recipes import NextTokenModule, Objective, Plan, Task, Term, conversation_plan, register_objective
from inlay.recipes.settings.objective import ObjectiveError


@dataclass(frozen=True, kw_only=True)
class Focal(Objective):
    """Settings of the objective."""

    name: ClassVar[str] = "focal"
    gamma: float = 2.0
    """0 is the cross-entropy."""

    def check(self, stage: Any) -> None:
        """Refuse what has no meaning, before anything is loaded."""
        if self.gamma < 0:
            raise ObjectiveError(f"gamma: expected 0 or more, got {self.gamma}")

    def plan(self, task: Task) -> Plan:
        """The training module and its batches: conversations."""
        return conversation_plan(task, partial(FocalModule, self, task))


class FocalModule(NextTokenModule):
    """One stage on an attached model; everything but the loss is that of next-token prediction."""

    def __init__(self, settings: Focal, task: Task, steps: int) -> None:
        super().__init__(task.model, task.stage, steps)
        self.settings = settings

    def terms(self, batch: Batch) -> Mapping[str, Term]:
        """The loss by name, as a mean over labelled tokens."""
        logits, targets = self.labelled(batch)
        log_p = -cross_entropy(logits, targets, reduction="none")
        weights = (1 - log_p.exp()).clamp_min(1e-6) ** self.settings.gamma  # A power of 0 may have no gradient.
        return {"focal": Term(-(weights * log_p).mean(), per="labels")}


register_objective(Focal)
