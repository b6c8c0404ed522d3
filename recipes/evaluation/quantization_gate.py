"""Held-out conversations as batches for the int8 check (:mod:`inlay.adapters.bundles.int8_gate`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.bundles.int8_gate import LIMIT, Int8Loss, QuantiseError, quantise
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.batch import Batch
from inlay.recipes.data.rows.sample import Sample

__all__ = ["HeldOutBatches", "as_int8"]

BATCH = 16


class HeldOutBatches:
    """Batches that can be iterated repeatedly; media are loaded each time.

    Args:
        model: the attached model.
        samples: conversations that end with an answer.
        features: returns the cached features of a medium; None without a cache.
    """

    def __init__(
        self,
        model: AttachedModel,
        samples: Sequence[Sample],
        features: Callable[[MediaPart], Tensor] | None = None,
    ) -> None:
        self.model, self.features = model, features
        rows = [model.encode(sample.messages, name=sample.id) for sample in samples]
        self.rows = sorted(rows, key=lambda row: len(row.ids))  # for little padding

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.rows), BATCH):
            yield self.model.collate(self.rows[start : start + BATCH], features=self.features)


def as_int8(batches: HeldOutBatches, show: Callable[[str], None]) -> dict[str, float | bool]:
    """Round the weights to int8 if the held-out loss allows it, and print the result.

    Returns:
        ``accepted``, and the losses ``before`` and ``after``.

    Raises:
        QuantiseError: the loss cannot be computed.
    """
    try:
        found: Int8Loss = quantise(batches.model, batches)
    except QuantiseError as error:
        if error.found is None:
            raise
        show(f"\nthe bundle stays in bfloat16: {error}")
        return {"accepted": False, "before": error.found.before, "after": error.found.after}
    show(f"\nint8: {found}, allowed {LIMIT:+.3%}")
    return {"accepted": True, "before": found.before, "after": found.after}
