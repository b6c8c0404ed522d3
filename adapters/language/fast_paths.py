"""The fast paths that a language model supports, found by running it on a few tokens.

Class names are not reliable: families add soft caps, windows and scales from one release to the next. So every path is
compared with the plain one on the given model, and is not used if the numbers differ or anything fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inlay.adapters.language.decoder_layers import decoder_layers
from inlay.adapters.language.lm_head import frozen_head, head_input, returns_head_scores
from inlay.adapters.language.packing.packed_attention import Packed, packed_attention, refusal
from inlay.adapters.language.precision import computed_in
from inlay.adapters.language.wiring.protocol import Wiring

__all__ = ["FastPaths", "probe", "reads_padding"]

_LENGTHS = (3, 5)
"""Lengths of the rows of the test."""
_BRANCHED = [0, 1, 4, 5, 6]
"""Positions of the second row in the row with branches."""


@dataclass(frozen=True)
class FastPaths:
    """The result of :func:`probe`."""

    head: bool
    """Whether the model's logits are the output of its head, so that the loss can be computed from hidden states."""
    packs: bool
    """Whether the model supports packed rows, and rows with branches."""


def probe(model: Any, wiring: Wiring, dtype: torch.dtype, pad_id: int) -> FastPaths:
    """Compare the fast paths with the plain one, on the device and in the autocast context of the caller.

    Dropout inside the model (that of LoRA) is off meanwhile. No gradient is recorded and no random number is drawn.

    Args:
        model: the language model, with an adapter or without.
        wiring: how to run it.
        dtype: the dtype of the embeddings that it will read.
        pad_id: a valid token id.
    """
    with torch.no_grad(), _without_dropout(model):
        embeddings = _embeddings(model).to(dtype)
        return FastPaths(_head(model, wiring, embeddings, pad_id), _packs(model, wiring, embeddings, pad_id))


def reads_padding(model: Any, wiring: Wiring, dtype: torch.dtype, pad_id: int, rows: int) -> bool:
    """Whether left padding does not change the logits of a row; recurrent models often ignore the mask.

    Args:
        model: the language model.
        wiring: how to run it.
        dtype: the dtype of the embeddings that it will read.
        pad_id: a valid token id.
        rows: size of the batch; with several adapters in a batch only this size can be run.
    """
    with torch.no_grad(), _without_dropout(model):
        row = _embeddings(model)[1:].to(dtype).expand(rows, -1, -1)
        mask = torch.ones(row.shape[:2], dtype=torch.long, device=row.device)
        mask[:, : -min(_LENGTHS)] = 0
        alone = wiring.run(model, row[:, -min(_LENGTHS) :], mask[:, -min(_LENGTHS) :], None, pad_id)[:, -1].float()
        padded = wiring.run(model, row, mask, None, pad_id)[:, -1].float()
    # Wide: in half precision the two differ by rounding, and padding that is attended to changes much more.
    finite = alone.isfinite()
    return _close(padded[finite], alone[finite], max(1e-2, 8 * torch.finfo(computed_in(row)).eps))


def _embeddings(model: Any) -> Tensor:
    """``[2, 5, width]``: tokens from all over the vocabulary."""
    table = model.get_input_embeddings()
    device, size = table.weight.device, len(table.weight)
    count = len(_LENGTHS) * max(_LENGTHS)
    ids = (torch.arange(count, device=device) * max(1, size // count)) % size
    rows: Tensor = table(ids).unflatten(0, (len(_LENGTHS), max(_LENGTHS)))
    return rows


def _head(model: Any, wiring: Wiring, embeddings: Tensor, pad_id: int) -> bool:
    head = frozen_head(model)
    if head is None:
        return False
    mask = torch.ones(embeddings.shape[:2], dtype=torch.long, device=embeddings.device)
    target = mask * pad_id if model.config.is_encoder_decoder else None
    try:
        return returns_head_scores(model, head, lambda: wiring.run(model, embeddings, mask, target, pad_id))
    except Exception:  # on any failure of a fast path the plain path is used
        return False


def _packs(model: Any, wiring: Wiring, embeddings: Tensor, pad_id: int) -> bool:
    if refusal(model):
        return False
    place = torch.arange(max(_LENGTHS))
    mask = (place < torch.tensor(_LENGTHS)[:, None]).long()
    packed = Packed.of(mask).to(embeddings.device)
    calls: list[str] = []

    def read(values: Tensor, rows: Packed = packed) -> Tensor:
        """Hidden states ``[N, width]`` of the packed rows."""
        with head_input(model) as seen, packed_attention(model):
            more = {"position_ids": rows.positions, "calls": calls, **rows.arguments}
            wiring.run(model, rows.flat(values), None, None, pad_id, **more)
        return seen[0][0]

    try:
        with head_input(model) as seen:
            wiring.run(model, embeddings, mask.to(embeddings.device), None, pad_id)
        padded, found = packed.flat(seen[0])[0], read(embeddings)
        if calls != [""] * len(decoder_layers(model)):
            return False  # a layer has another kind of attention, or one with arguments that would be ignored
        other = embeddings.clone()
        other[0] = embeddings[1]
        again = read(other)
        branched = read(*_branched(embeddings))
    except Exception:  # as above
        return False
    own = slice(_LENGTHS[0], None)  # the second row must not depend on the first
    precise = torch.finfo(found.dtype).eps
    return (
        _close(found, padded, max(1e-4, 4 * precise))
        and _close(again[own], found[own], max(1e-6, precise))
        and _close(branched[_BRANCHED], found[own], max(1e-4, 4 * precise))
    )


def _branched(embeddings: Tensor) -> tuple[Tensor, Packed]:
    """Test the second row with a branch to which the rest of the row must not attend."""
    first, second = embeddings
    row = torch.cat([second[:2], first[:2], second[2:]])[None]
    packed = Packed.of(torch.ones(row.shape[:2], dtype=torch.long), [(2, 2, len(second) - 2)])
    return row, packed.to(embeddings.device)


def _close(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether no value differs by more than a share of the largest; NaN is never close."""
    return bool((found - wanted).abs().amax() <= tolerance * wanted.abs().amax())


@contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    """Put modules in training mode into eval mode, including the module whose mode decides about LoRA's dropout."""
    every = ((module, getattr(module, "follows", None)) for module in model.modules())
    training = {module for pair in every for module in pair if isinstance(module, nn.Module) and module.training}
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
