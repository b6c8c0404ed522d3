"""Rounding an adapter to int8, undone if the held-out loss rises too much.

int8 rounds each weight to 1/127 of the largest weight of its row. Whether a projector keeps its quality is measured,
not assumed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from inlay.adapters.bundles.storage_dtype import int8_matrices, round_module
from inlay.adapters.core.batch import Batch
from inlay.adapters.core.model_core import ModelCore
from inlay.hub.errors import InlayError

__all__ = ["LIMIT", "Int8Loss", "QuantiseError", "held_out_loss", "quantise"]

LIMIT = 0.001
"""Allowed rise of the held-out loss, relative to the loss before rounding."""


@dataclass(frozen=True, slots=True)
class Int8Loss:
    """Held-out loss before and after rounding to int8."""

    before: float
    """Held-out loss per token before rounding."""
    after: float
    """Held-out loss per token with the weights in int8."""

    @property
    def rise(self) -> float:
        """Relative rise of the loss; negative if it fell."""
        return self.after / self.before - 1

    def __str__(self) -> str:
        return f"held-out loss {self.before:.5f} -> {self.after:.5f} ({self.rise:+.3%})"


class QuantiseError(InlayError):
    """The held-out loss of an adapter rises too much with int8, or cannot be measured.

    Args:
        text: the reason.
        found: both losses, if they were measured.
    """

    def __init__(self, text: str, found: Int8Loss | None = None) -> None:
        super().__init__(text)
        self.found = found


def quantise(model: ModelCore[Any], batches: Iterable[Batch], *, limit: float = LIMIT) -> Int8Loss:
    """Round the attached adapter to int8, in place; ``adapter.save_pretrained(folder, dtype="int8")`` then writes it.

    Args:
        model: an attached model. Its present weights are the baseline, so round them to bfloat16 first to compare int8
            with bfloat16.
        batches: held-out conversations with their answers; iterated over twice.
        limit: allowed relative rise of the loss.

    Raises:
        QuantiseError: the loss rises by more (the text has the figures; the weights are restored), no matrix of this
            adapter becomes smaller, or no token of the batches is labelled.
    """
    adapter = model.adapter
    if not int8_matrices(adapter):
        raise QuantiseError(f"adapter {adapter.name!r} has no matrix that int8 makes smaller; keep bfloat16")
    if limit < 0:
        raise QuantiseError(f"limit: expected a relative rise of at least 0, such as {LIMIT}, got {limit}")
    before = held_out_loss(model, batches)
    kept = [(parameter, parameter.detach().clone()) for parameter in adapter.parameters()]
    try:
        round_module(adapter, "int8")
        found = Int8Loss(before, held_out_loss(model, batches))
        if not found.rise <= limit:
            raise QuantiseError(
                f"adapter {adapter.name!r} loses too much by int8: {found}, allowed {limit:+.3%}; keep bfloat16, or "
                "allow more with limit=",
                found,
            )
    except BaseException:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
        raise
    return found


def held_out_loss(model: ModelCore[Any], batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all labelled tokens of all batches, without dropout.

    Raises:
        QuantiseError: there is no labelled token.
    """
    total, count = 0.0, 0
    with model.inference():
        for batch in batches:
            output = model(batch, logits="none")
            if output.loss is not None and output.targets is not None:
                total += float(output.loss) * len(output.targets)
                count += len(output.targets)
    if not count:
        raise QuantiseError(
            "expected held-out conversations with answers to measure the loss on, got none (they are iterated over "
            "twice: give a list, not a generator)"
        )
    return total / count
