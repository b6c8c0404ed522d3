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
    """Between conditioning and the text encoder's: the Euclidean norm of each vector, which the papers call MSE, or the
    mean squared error."""
    image: float = 1.0
    """Weight of the distance for pictures."""
    audio: float = 1.0
    """Weight of the distance for sounds."""
    video: float = 1.0
    """Weight of the distance for clips; the released code takes 2 in its last stage."""
    diffusion: float = 0.0
    """Weight of the latent diffusion loss, for which the media themselves are read; 0 leaves it out."""
    min_snr: float | None = 5.0
    """Gamma of the diffusion loss's min-SNR weights; empty for none."""
    cache: bool = True
    """If output projectors alone train, the frozen LLM runs once on each sample, before the training loop."""

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("lm", "image", "audio", "video", "diffusion")}
        if any(value < 0 for value in weights.values()) or not any(weights.values()):
            raise ObjectiveError(f"{self.name}: expected weights from 0, one of them above, got {weights}")
        if self.min_snr is not None and self.min_snr <= 0:
            raise ObjectiveError(f"{self.name}: min_snr lies above 0, got {self.min_snr}")
