"""A batch of preference rows: the LLM's batch, and the position of each stream in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inlay.adapters.core.batch import Batch
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.results import TokenLogProbs
from inlay.recipes.data.sampling.step_counts import counts_of
from inlay.recipes.objectives.preference.losses.segments import token_weights
from inlay.recipes.objectives.preference.pairs import PairRow
from inlay.recipes.objectives.preference.reference import StoredReference

__all__ = ["PairBatch", "Weigh", "collate_pairs", "weigher"]

Weigh = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Function from stream -> ids of its answer ``[n]`` to stream -> weight of each token ``[n]``; other streams have 1."""


@dataclass(frozen=True)
class PairBatch:
    """``P`` preference rows."""

    batch: Batch
    """The batch of the LLM."""
    places: Mapping[str, Tensor]
    """Stream -> ``[P]``, the number of its sequence in the batch; -1 for a row without it."""
    names: tuple[str, ...]
    """Sample ids."""
    counts: Mapping[str, Tensor]
    """Stream -> ``[P]``, number of its tokens, or the sum of their weights; 0 for a row without it."""
    weights: Tensor | None = None
    """``[n]``, weights of all labelled tokens in reading order; None if all are 1."""
    desirable: Tensor | None = None
    """``[P]`` bool, for single answers."""
    reference: TokenLogProbs | None = None
    """The stored log-probabilities of the reference, if there are any."""
    chosen_tokens: int = 0
    """Tokens of the chosen answers, for the supervised loss."""

    def streams(self, found: TokenLogProbs) -> dict[str, Tensor]:
        """Stream -> ``[P]``, the log-probability of each answer; rows without the stream have 0."""
        sums = found.sums(self.weights)
        padded = torch.cat([sums, sums.new_zeros(1)])
        return {name: padded[place] for name, place in self.places.items()}

    def to(self, device: torch.device) -> PairBatch:
        """The same batch on another device."""
        moved = self.reference
        if moved is not None:
            moved = TokenLogProbs(moved.tokens.to(device), moved.sequence.to(device), moved.sequences)
        return replace(
            self,
            batch=self.batch.to(device),
            places={name: place.to(device) for name, place in self.places.items()},
            counts={name: count.to(device) for name, count in self.counts.items()},
            weights=None if self.weights is None else self.weights.to(device),
            desirable=None if self.desirable is None else self.desirable.to(device),
            reference=moved,
        )

    def __len__(self) -> int:
        return len(self.names)


@counts_of.register
def _pairs(batch: PairBatch) -> dict[str, int]:
    """Numbers of pairs, and of tokens of their chosen answers."""
    return {"pairs": len(batch), "chosen_tokens": batch.chosen_tokens, "samples": len(batch)}


def weigher(segment_weight: float, tail: float) -> Weigh | None:
    """:func:`~inlay.recipes.objectives.preference.losses.segments.token_weights` by stream; None if all are 1."""
    if segment_weight == 1 and tail == 1:
        return None

    def weigh(answers: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        chosen, rejected = token_weights(
            answers["chosen"], answers["rejected"], segment_weight=segment_weight, tail=tail
        )
        return {"chosen": chosen, "rejected": rejected} | (
            {"chosen_other_image": chosen} if "chosen_other_image" in answers else {}
        )

    return weigh


def collate_pairs(
    pairs: Sequence[PairRow],
    streams: Sequence[str],
    collate: Callable[[Sequence[Encoded]], Batch],
    *,
    weigh: Weigh | None = None,
    stored: StoredReference | None = None,
) -> PairBatch:
    """Collate preference rows to one batch.

    Args:
        pairs: the rows.
        streams: all streams of the loss.
        collate: rows of the LLM -> a batch with their media.
        weigh: weights of tokens.
        stored: the reference's log-probabilities; None if they are computed in the step.
    """
    places = {name: torch.full((len(pairs),), -1) for name in streams}
    counts = {name: torch.zeros(len(pairs)) for name in streams}
    weights: list[Tensor] = []
    for number, pair in enumerate(pairs):
        answers = pair.answers
        own = {name: torch.ones(len(ids)) for name, ids in answers.items()} | dict(weigh(answers) if weigh else {})
        for name in pair.streams:
            places[name][number], counts[name][number] = len(weights), own[name].sum()
            weights.append(own[name])
    rows = [row for pair in pairs for row in pair.rows]
    reference = None
    if stored is not None:
        sequence = torch.arange(len(weights)).repeat_interleave(torch.tensor([len(own) for own in weights]))
        reference = TokenLogProbs(stored.tokens(rows), sequence, len(weights))
    labelled = [pair.desirable for pair in pairs if pair.desirable is not None]
    return PairBatch(
        batch=collate(rows),
        places=places,
        names=tuple(pair.name for pair in pairs),
        counts=counts,
        weights=torch.cat(weights) if weigh is not None else None,
        desirable=torch.tensor(labelled) if labelled else None,
        reference=reference,
        chosen_tokens=sum(len(pair.answers.get("chosen", ())) for pair in pairs),
    )
