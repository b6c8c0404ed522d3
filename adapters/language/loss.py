"""The losses of labelled tokens from one forward pass; padding and unlabelled positions are left out where possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from inlay.adapters.language.cross_entropy import frozen_cross_entropy
from inlay.adapters.language.fast_paths import FastPaths
from inlay.adapters.language.lm_head import frozen_head, head_reads
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.adapters.language.packing.packed_attention import packed_attention
from inlay.adapters.language.precision import computed_in
from inlay.adapters.language.wiring.protocol import Wiring

__all__ = ["token_losses"]


def token_losses(
    model: Any,
    wiring: Wiring,
    paths: FastPaths,
    embeddings: Tensor,
    mask: Tensor,
    plan: LossPlan,
    target: Tensor | None,
    *,
    pad_id: int,
    prune: bool,
) -> Tensor:
    """Cross-entropy of each labelled token; see :meth:`inlay.adapters.language.model.LanguageModel.token_losses`.

    Args:
        model: the language model.
        wiring: how to run it.
        paths: the fast paths that the model supports.
        embeddings: ``[B, T, width]``.
        mask: ``[B, T]``.
        plan: the loss plan of the batch.
        target: ``[B, U]``, the target of an encoder-decoder.
        pad_id: a valid token id.
        prune: leave out positions that no label depends on.

    Returns:
        ``[n]`` in float32, in the order of the plan.
    """
    head = frozen_head(model) if paths.head else None
    read: list[Tensor] = []

    def labelled(hidden: Tensor) -> Tensor:
        """Labelled rows ``[n, width]`` -> the head's input, which is empty if its matrix is used instead."""
        read.append(hidden)
        return hidden[None] if head is None else hidden[None, :0]

    scores = _run(model, wiring, paths, embeddings, mask, plan, target, labelled, pad_id=pad_id, prune=prune)
    if head is not None:
        return frozen_cross_entropy(read[0], head, plan.targets)
    if not read:  # the model applies its head without calling the module
        scores = wiring.run(model, embeddings, mask, target, pad_id)[plan.rows][None]
    return F.cross_entropy(scores[0].float(), plan.targets, reduction="none")


def _run(
    model: Any,
    wiring: Wiring,
    paths: FastPaths,
    embeddings: Tensor,
    mask: Tensor,
    plan: LossPlan,
    target: Tensor | None,
    labelled: Callable[[Tensor], Tensor],
    *,
    pad_id: int,
    prune: bool,
) -> Tensor:
    """One forward pass, in which the head's input is ``labelled`` of the labelled rows ``[n, width]``."""
    given: Tensor | None = mask
    pick, more = plan.pick, {}
    attention: AbstractContextManager[None] = nullcontext()
    if prune and not model.config.is_encoder_decoder:
        embeddings, given = embeddings[:, : plan.width], mask[:, : plan.width] if plan.padded else None
        packed = plan.packed if paths.packs else None
        if packed is not None and packed.pays(embeddings.device, computed_in(embeddings)):
            embeddings, given, pick = packed.flat(embeddings), None, plan.pick_packed
            more, attention = {"position_ids": packed.positions, **packed.arguments}, packed_attention(model)
    with head_reads(model, lambda hidden: labelled(pick(hidden))), attention:
        return wiring.run(model, embeddings, given, target, pad_id, **more)
