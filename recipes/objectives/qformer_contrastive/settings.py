"""BLIP-2's first stage as an objective (Li et al., 2023, https://arxiv.org/abs/2301.12597)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inlay.recipes.settings.objective import Objective, ObjectiveError

__all__ = ["QFormerContrastive"]


@dataclass(frozen=True, kw_only=True)
class QFormerContrastive(Objective):
    """Contrastive loss, matching and generation; the defaults are the published values."""

    name: ClassVar[str] = "qformer_contrastive"
    planner: ClassVar[str] = "inlay.recipes.objectives.qformer_contrastive.planning:contrastive_plan"
    streamed: ClassVar[bool] = True
    conversations: ClassVar[bool] = False
    tiled: ClassVar[bool] = False

    itc: float = 1.0
    """Weight of the image-text contrastive loss; above 0, because hard negatives are drawn from its scores."""
    itm: float = 1.0
    """Weight of image-text matching; 0 leaves it out."""
    lm: float = 1.0
    """Weight of image-grounded generation; 0 leaves it out."""
    itc_smoothing: float = 0.1
    """Label smoothing of the contrastive loss."""
    lm_smoothing: float = 0.1
    """Label smoothing of the generation."""
    temperature: float = 0.07
    """Initial value of the learned temperature."""
    temperature_bounds: tuple[float, float] = (0.001, 0.5)
    """Lower and upper bound of the temperature."""
    text_tokens: int = 32
    """Maximum tokens of a caption."""
    embedding: int = 256
    """Width of the joint embedding space of pictures and texts."""
    bert: str = ""
    """Hub id or folder of the BERT that initialises text branch and self-attention; empty for random weights."""
    rerank: int = 0
    """Candidates per query that the report re-ranks with the matching head; 0 for contrastive scores only."""

    def __post_init__(self) -> None:
        if self.itc <= 0 or self.itm < 0 or self.lm < 0:
            raise ObjectiveError(
                f"{self.name}: expected itc > 0, itm >= 0 and lm >= 0, got {self.itc}, {self.itm} and {self.lm}"
            )
        if not 0 <= self.itc_smoothing < 1 or not 0 <= self.lm_smoothing < 1:
            raise ObjectiveError(f"{self.name}: expected itc_smoothing and lm_smoothing from 0 to below 1")
        low, high = self.temperature_bounds
        if not 0 < low <= self.temperature <= high:
            raise ObjectiveError(
                f"{self.name}: expected 0 < {low} <= temperature <= {high}, got a temperature of {self.temperature}"
            )
        if self.text_tokens < 4 or self.embedding < 1 or self.rerank < 0:
            raise ObjectiveError(
                f"{self.name}: expected text_tokens >= 4 (with special tokens), embedding >= 1 and rerank >= 0"
            )
