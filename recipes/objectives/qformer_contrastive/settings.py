"""BLIP-2's first stage as an objective (Li et al., 2023, https://arxiv.org/abs/2301.12597)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inlay.recipes.settings.objective import Objective, ObjectiveError

__all__ = ["QFormerContrastive"]


@dataclass(frozen=True, kw_only=True)
class QFormerContrastive(Objective):
    """Contrast, matching and generation; the defaults are the published values."""

    name: ClassVar[str] = "qformer_contrastive"
    planner: ClassVar[str] = "inlay.recipes.objectives.qformer_contrastive.planning:contrastive_plan"
    streamed: ClassVar[bool] = True
    conversations: ClassVar[bool] = False

    itc: float = 1.0
    """Weight of the image-text contrast. Hard negatives are drawn from its scores, so it is always above 0."""
    itm: float = 1.0
    """Weight of image-text matching; 0 leaves it out."""
    lm: float = 1.0
    """Weight of image-grounded generation; 0 leaves it out."""
    itc_smoothing: float = 0.1
    """Label smoothing of the contrast."""
    lm_smoothing: float = 0.1
    """Label smoothing of the generation."""
    temperature: float = 0.07
    """First value of the learned temperature."""
    temperature_bounds: tuple[float, float] = (0.001, 0.5)
    """Bounds of the temperature."""
    text_tokens: int = 32
    """Tokens that a caption is cut to."""
    embedding: int = 256
    """Width of the space in which pictures and texts are compared."""
    bert: str = ""
    """Hub id or folder of the BERT that text branch and self-attention start from; empty for random values."""
    rerank: int = 0
    """In the report: candidates of each query that matching puts in a new order; 0 for contrast alone."""

    def __post_init__(self) -> None:
        if self.itc <= 0 or self.itm < 0 or self.lm < 0:
            raise ObjectiveError(
                f"{self.name}: expected itc above 0 and itm, lm from 0, got {self.itc}, {self.itm} and {self.lm}"
            )
        if not 0 <= self.itc_smoothing < 1 or not 0 <= self.lm_smoothing < 1:
            raise ObjectiveError(f"{self.name}: itc_smoothing and lm_smoothing lie between 0 and 1")
        low, high = self.temperature_bounds
        if not 0 < low <= self.temperature <= high:
            raise ObjectiveError(
                f"{self.name}: expected 0 < {low} <= temperature <= {high}, got a temperature of {self.temperature}"
            )
        if self.text_tokens < 4 or self.embedding < 1 or self.rerank < 0:
            raise ObjectiveError(
                f"{self.name}: text_tokens is at least 4 (a word between special tokens), embedding at least 1, rerank "
                "not negative"
            )
