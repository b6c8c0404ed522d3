"""The audit of preference tuning: does it use the medium? Held-out pairs with the right, an empty and another medium.

Preferences can often be predicted from the text alone, such as "the longer answer wins". Training on them then raises
the reward accuracy without the medium: DPO without images does about as well as with them (mDPO,
https://arxiv.org/abs/2406.11839). So every figure is reported together with the same figure without the medium.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import MediaPart, media_of
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.preference.data import PairData
from inlay.recipes.objectives.preference.other_media import Changed, OtherRows, blank
from inlay.recipes.objectives.preference.pairs import Other, with_media

__all__ = ["Audit", "Sums", "verdict"]

RIGHT, BLANK, OTHER = "right", "blank", "other"
_WITH = {RIGHT: "with the right medium", BLANK: "with a blank one", OTHER: "with another row's"}
FEW = 50
"""With fewer held-out pairs, a line tells the standard error."""
BATCH = 16
"""Number of pairs per forward pass."""
SMALL_GAP = 0.05
"""Difference up to which reward accuracies count as equal: the standard error of 100 pairs."""
SUNK = 1.0
"""Nats per answer below the reference from which a lower likelihood of the chosen answers is reported."""


@dataclass(frozen=True)
class Sums:
    """Log-probabilities of pairs, each ``[N]`` in float32."""

    chosen: Tensor
    rejected: Tensor

    def accuracy(self, reference: Sums | None = None) -> float:
        """Share of pairs whose chosen answer has the higher reward, or log-probability without a reference."""
        return float(
            (self.chosen - self.rejected > (reference.chosen - reference.rejected if reference else 0)).float().mean()
        )


class Audit:
    """The figures of one stage.

    Args:
        model: the attached model.
        pairs: held-out pairs.
        data: encodes and collates pairs.
        beta: temperature of the rewards.
        referenced: whether rewards are relative to the adapter at the start; otherwise they are average
            log-probabilities per token.
        show: prints a line for the user.
    """

    def __init__(
        self,
        model: AttachedModel,
        pairs: Sequence[Sample],
        data: PairData,
        *,
        beta: float,
        referenced: bool,
        show: Callable[[str], None],
    ) -> None:
        self.model, self.data, self.beta, self.referenced, self.show = model, data, beta, referenced, show
        has_media = any(media_of(sample.messages) for sample in pairs)
        self.views: dict[str, Sequence[Sample]] = {RIGHT: pairs}
        if has_media:
            self.views[BLANK] = [
                _with(row, lambda part: MediaPart(part.modality, Changed(part, blank))) for row in pairs
            ]
            self.views[OTHER] = [_with(row, OtherRows(pairs)) for row in pairs]
        self.before: dict[str, Sums] = {}

    def begin(self) -> None:
        """Measure the adapter at the start, which is the reference."""
        self.before = {name: self._sums(rows) for name, rows in self.views.items()}

    def end(self) -> dict[str, Any]:
        """The figures for ``metrics.json``; also prints their interpretation."""
        after = {name: self._sums(rows) for name, rows in self.views.items()}
        rewards = {name: own.accuracy(self.before[name] if self.referenced else None) for name, own in after.items()}
        right, start = after[RIGHT], self.before[RIGHT]
        gain = (right.chosen - start.chosen).mean()
        margin = self.beta * ((right.chosen - start.chosen) - (right.rejected - start.rejected)).mean()
        figures = {
            "reward_accuracy": rewards,
            "log_prob_accuracy": {
                "before": {name: own.accuracy() for name, own in self.before.items()},
                "after": {name: own.accuracy() for name, own in after.items()},
            },
            "reward_margin": float(margin),
            "chosen_above_reference": float(gain),
        }
        for line in verdict(rewards, float(gain), len(right.chosen)):
            self.show(line)
        return figures

    def _sums(self, samples: Sequence[Sample]) -> Sums:
        chosen, rejected = [], []
        with self.model.inference():
            for start in range(0, len(samples), BATCH):
                batch = self.data.collate([self.data.row(0, sample) for sample in samples[start : start + BATCH]])
                streams = replace(batch, reference=None).streams(self.model.log_probs(batch.batch))
                chosen.append(streams["chosen"].cpu())
                rejected.append(streams["rejected"].cpu())
        return Sums(torch.cat(chosen), torch.cat(rejected))


def _with(sample: Sample, other: Other) -> Sample:
    return replace(sample, messages=with_media(sample.messages, other), rejected=with_media(sample.rejected, other))


def verdict(rewards: dict[str, float], gain: float, pairs: int) -> list[str]:
    """The interpretation of the figures, in words.

    Args:
        rewards: reward accuracy with the right, an empty and another row's medium.
        gain: mean log-probability of the chosen answers above the reference, in nats.
        pairs: number of held-out pairs.
    """
    shares = ", ".join(f"{100 * value:.1f} % {_WITH[name]}" for name, value in rewards.items())
    lines = [f"reward accuracy on {pairs} held-out pairs: {shares}"]
    if pairs < FEW:
        lines.append(
            f"{pairs} pairs are few: the standard error of a share is up to {50 / math.sqrt(pairs):.0f} points"
        )
    blind = max((value for name, value in rewards.items() if name != RIGHT), default=None)
    if blind is not None and rewards[RIGHT] - blind <= SMALL_GAP:
        lines.append(
            "The medium was not used: rewards are as accurate without it. The preferences can be predicted from the "
            "text alone (length, wording); train with loss mdpo or symmpo, or make pairs with inlay pairs"
        )
    if gain < -SUNK:
        lines.append(
            f"The chosen answers became less likely than before, by {-gain:.1f} nats each: lower the learning rate, or "
            "add a supervised term (loss rpo) or an anchor (loss mdpo, dpop)"
        )
    return lines
