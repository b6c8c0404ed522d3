"""Counts the terms of each loss in a whole optimizer step, before its first micro-batch is trained on.

The loss of an optimizer step is the sum over its terms (labelled tokens, media, pairs) divided by their number, however
the step is cut into micro-batches and shared among processes. So the loader takes all micro-batches of a step from its
workers, counts their terms, adds up the counts of all processes, and yields each micro-batch with the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import islice
from typing import Any

from inlay.adapters.core.batch import Batch
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.media.modality import GENERATED, Modality
from inlay.recipes.distributed.ranks import summed

__all__ = ["Share", "StepBatch", "by_step", "counts_of", "media_counts"]


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one micro-batch of one process in its optimizer step."""

    own: dict[str, int]
    """Name -> terms in this micro-batch."""
    total: dict[str, int]
    """Name -> terms in all micro-batches of the step, of all processes."""
    first: bool = True
    """Whether this is the first micro-batch of the step."""
    last: bool = True
    """Whether this is the last micro-batch of the step."""

    def of(self, name: str) -> float:
        """The factor that turns a mean over the terms of this micro-batch into its part of the mean over the step."""
        return self.own[name] / max(1, self.total[name])


class StepBatch:
    """A micro-batch with its share of the optimizer step; ``StepData`` separates the two in the training loop.

    Args:
        batch: the micro-batch.
        share: its share of the step.
    """

    # Not a dataclass: Lightning would look for tensors in its fields.
    def __init__(self, batch: Any, share: Share) -> None:
        self.batch, self.share = batch, share


def by_step(batches: Iterable[Any], accumulate: int) -> Iterator[StepBatch]:
    """Micro-batches with their shares; every process has to iterate at the same time.

    Args:
        batches: micro-batches of this process.
        accumulate: micro-batches of an optimizer step; the last step may have fewer.
    """
    stream = iter(batches)
    while step := list(islice(stream, accumulate)):
        counts = [counts_of(batch) for batch in step]
        total = summed({name: sum(own[name] for own in counts) for name in counts[0]})
        for place, (batch, own) in enumerate(zip(step, counts, strict=True)):
            yield StepBatch(batch, Share(own, total, place == 0, place == len(step) - 1))


@singledispatch
def counts_of(batch: Any) -> dict[str, int]:
    """Terms of a micro-batch by name; ``counts_of.register`` adds another kind of batch.

    Args:
        batch: of any kind; if the kind is not registered, its samples are counted.
    """
    return {"samples": len(batch)}


@counts_of.register
def _conversations(batch: Batch) -> dict[str, int]:
    """Labelled tokens, samples, and generated media."""
    if batch.plan is not None:
        labels = len(batch.plan)
    else:
        labels = int((batch.labels[:, 1:] if batch.target is None else batch.target).ne(IGNORE).sum())
    return {"labels": labels, "samples": len(batch), **media_counts(part.modality for part in batch.made)}


def media_counts(modalities: Iterable[Modality]) -> dict[str, int]:
    """Modality -> number of its generated media."""
    found = list(modalities)
    return {modality: found.count(modality) for modality in GENERATED}
