"""How many terms each loss has in a whole optimizer step, counted before its first micro-batch is trained on.

The loss of an optimizer step is the sum over its terms (labelled tokens, media, pairs) divided by their number, however
the step is cut into micro-batches and shared among processes. A micro-batch alone does not know that number, so the
loader takes all micro-batches of a step from its workers, counts them, adds up the counts of all processes, and hands
each micro-batch on with the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import islice
from typing import Any, get_args

from inlay.adapters.core.batch import Batch
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.cache.states import StateBatch
from inlay.recipes.data.caption_batch import CaptionBatch
from inlay.recipes.ranks import all_rows, summed
from inlay.recipes.stages.contrast import matches

__all__ = ["Share", "StepBatch", "by_step", "counts_of"]


@dataclass(frozen=True, slots=True)
class Share:
    """The part that one micro-batch of one process has in its optimizer step."""

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
    """A micro-batch with its share of the optimizer step; ``StepData`` takes the two apart again in the training loop.

    Args:
        batch: the micro-batch.
        share: its part of the step.
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
    """Labelled tokens, samples, and media that are made."""
    if batch.plan is not None:
        labels = len(batch.plan)
    else:
        labels = int((batch.labels[:, 1:] if batch.target is None else batch.target).ne(IGNORE).sum())
    return {"labels": labels, "samples": len(batch), **_made(part.modality for part in batch.made)}


@counts_of.register
def _states(batch: StateBatch) -> dict[str, int]:
    """Samples, and media that are made."""
    return {"samples": len(batch), **_made(part.modality for part in batch.made)}


@counts_of.register
def _captions(batch: CaptionBatch) -> dict[str, int]:
    """Samples, tokens of their captions, and pairs for matching: true ones, and two false ones where there are any."""
    same = matches(batch.owners, batch.ids, all_rows(batch.owners), all_rows(batch.ids))
    false = int((~same.all(dim=1)).sum())
    return {"samples": len(batch), "tokens": int(batch.mask[:, 1:].sum()), "pairs": len(batch) + 2 * false}


def _made(modalities: Iterable[Modality]) -> dict[str, int]:
    found = list(modalities)
    return {modality: found.count(modality) for modality in get_args(Modality)}
