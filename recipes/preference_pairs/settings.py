"""Settings of ``inlay pairs``. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from inlay.recipes.rewards.terms import RewardSettings
from inlay.recipes.settings.errors import SettingsError

__all__ = ["PairSettings", "check_output"]


@dataclass(frozen=True, kw_only=True)
class PairSettings(RewardSettings):
    """Settings of sampling and ranking of answers."""

    samples: int = 8
    """Answers sampled for each question."""
    temperature: float = 0.7
    """Temperature of sampling; higher values give more different answers."""
    top_p: float | None = None
    """Sample from the smallest set of tokens with this share of the probability."""
    top_k: int | None = None
    """Sample from this many of the most likely tokens."""
    max_new_tokens: int | None = None
    """Maximum tokens of an answer; 8 more than the longest reference answer, and at least 16, if not given."""
    seed: int = 0
    """Seed of the answers; the same seed gives the same answers for any batch size."""
    limit: int | None = None
    """Use the first questions only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("samples", 2), ("top_k", 1), ("max_new_tokens", 1), ("seed", 0), ("limit", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise SettingsError(f"{name}: expected a whole number from {least} on, got {value}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise SettingsError(
                f"temperature: expected a number above 0, since equal answers make no pair, got {self.temperature}"
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise SettingsError(f"top_p: expected a number above 0 and up to 1, got {self.top_p}")


def check_output(output: Path, overwrite: bool) -> Path:
    """Check that the output file may be written.

    Raises:
        SettingsError: the folder does not exist, or the file exists and ``overwrite`` is not set.
    """
    if not output.parent.is_dir():
        raise SettingsError(f"output: {output.parent}: no such folder")
    if output.is_dir() or (output.exists() and not overwrite):
        raise SettingsError(f"output: {output} exists already; choose another file, or give --overwrite true")
    return output
