"""Lightning callbacks: audits of labels, losses and gradients, tables, and a resumable random state."""

from __future__ import annotations

from inlay.recipes.training.callbacks.compile_layers import CompileLayers
from inlay.recipes.training.callbacks.finite_loss import FiniteLoss, NonFiniteLossError
from inlay.recipes.training.callbacks.gradient_audit import GradientAudit, GradientAuditError
from inlay.recipes.training.callbacks.label_audit import LabelAudit, mark_trained
from inlay.recipes.training.callbacks.meters import Meters
from inlay.recipes.training.callbacks.part_table import PartTable, part_table
from inlay.recipes.training.callbacks.random_state import RandomState
from inlay.recipes.training.callbacks.reached_parts import ReachedParts

__all__ = [
    "CompileLayers",
    "FiniteLoss",
    "GradientAudit",
    "GradientAuditError",
    "LabelAudit",
    "Meters",
    "NonFiniteLossError",
    "PartTable",
    "RandomState",
    "ReachedParts",
    "mark_trained",
    "part_table",
]
