"""NExT-GPT's output side as an objective (Wu et al., 2023, https://arxiv.org/abs/2309.05519)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from inlay.recipes.settings.objective import Objective, ObjectiveError

__all__ = ["Signals"]


@dataclass(frozen=True, kw_only=True)
class Signals(Objective):
    """States of signal tokens and their targets; the defaults are the published values."""

    name: ClassVar[str] = "signals"
    planner: ClassVar[str] = "inlay.recipes.objectives.signals.planning:signals_plan"

    lm: float = 1.0
    """Weight of the cross-entropy over words and signal tokens; 0 leaves it out."""
    distance: Literal["per_token_l2", "mse"] = "per_token_l2"
    """Distance of conditionings: the mean Euclidean norm per vector (called MSE in the papers), or the mean squared
    error."""
    image: float = 1.0
    """Weight of the distance for pictures."""
    audio: float = 1.0
    """Weight of the distance for sounds."""
    video: float = 1.0
    """Weight of the distance for clips; the released code uses 2 in its last stage."""
    diffusion: float = 0.0
    """Weight of the latent diffusion loss, which needs the media files; 0 leaves it out."""
    min_snr: float | None = 5.0
    """Gamma of the min-SNR weights in the diffusion loss; empty for none."""
    cache: bool = True
    """Run the frozen LLM once per sample, before training, if only output projectors train."""

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("lm", "image", "audio", "video", "diffusion")}
        if any(value < 0 for value in weights.values()) or not any(weights.values()):
            raise ObjectiveError(f"{self.name}: expected weights >= 0, at least one above 0, got {weights}")
        if self.min_snr is not None and self.min_snr <= 0:
            raise ObjectiveError(f"{self.name}: min_snr: expected a number above 0, got {self.min_snr}")
