"""Next-token prediction as an objective without settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inlay.recipes.settings.objective import Objective

__all__ = ["NextToken"]


@dataclass(frozen=True, kw_only=True)
class NextToken(Objective):
    """The cross-entropy of the assistant's turns."""

    name: ClassVar[str] = "next_token"
    planner: ClassVar[str] = "inlay.recipes.objectives.next_token.module:next_token_plan"
    streamed: ClassVar[bool] = True
