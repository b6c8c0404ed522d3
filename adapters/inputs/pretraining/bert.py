"""Initial weights of a Q-Former from BERT (Devlin et al., 2018, https://arxiv.org/abs/1810.04805), as in BLIP-2.

Text branch and self-attention are copied from BERT, and its feed-forward blocks are copied twice: for text and for
queries. Cross-attention, queries, projections and the matching head have no counterpart in BERT and keep their random
values. Token types are left out, since the Q-Former has none. Of a deeper BERT only the first layers are copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.inputs.pretraining.qformer import QFormerPretrainer
from inlay.adapters.inputs.protocol import ProjectorError

__all__ = ["load_bert"]

_BY_WORD = ("embeddings.word_embeddings.weight", "lm_head.bias")
"""Tensors with a row for each word. The Q-Former may have more rows, for ``[DEC]``, which keep their values."""


def load_bert(pretrainer: QFormerPretrainer, model: Any) -> None:
    """Copy BERT's weights into a Q-Former that is about to be pretrained.

    Args:
        pretrainer: is changed in place.
        model: a ``BertModel``, or a ``BertForMaskedLM`` or ``BertForPreTraining``, whose head is then copied too.

    Raises:
        ProjectorError: the sizes differ; then nothing is copied.
    """
    bert, head = getattr(model, "bert", model), getattr(model, "cls", None)
    source = _renamed(bert.state_dict(), pretrainer.config.layers) | _head({} if head is None else head.state_dict())
    held = pretrainer.state_dict()
    slots = {}
    for name, tensor in source.items():
        slot = held.get(name)
        slot = slot[: len(tensor)] if slot is not None and name in _BY_WORD else slot
        if slot is None or slot.shape != tensor.shape:
            wanted = "no such tensor" if slot is None else f"shape {tuple(slot.shape)}"
            raise ProjectorError(f"BERT does not fit at {name}: expected {wanted}, got {tuple(tensor.shape)}")
        slots[name] = slot
    unfilled = sorted(
        name for name in held if name.startswith("qformer.") and "crossattention" not in name and name not in source
    )
    if unfilled:
        raise ProjectorError(f"BERT has too few layers: it has no tensor for {unfilled[0]}")
    with torch.no_grad():
        for name, slot in slots.items():
            slot.copy_(source[name])


def _renamed(bert: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    tables = ("word_embeddings", "position_embeddings")
    found = {f"embeddings.{table}.weight": bert[f"embeddings.{table}.weight"] for table in tables}
    for kind in ("weight", "bias"):
        found[f"qformer.layernorm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
    for name, tensor in bert.items():
        layer, _, inner = name.removeprefix("encoder.layer.").partition(".")
        if not name.startswith("encoder.layer.") or int(layer) >= layers:
            continue
        here = f"qformer.{name}".replace(".attention.self.", ".attention.attention.")
        found[here] = tensor
        if not inner.startswith("attention."):
            twin = here.replace(".intermediate.", ".intermediate_query.").replace(".output.", ".output_query.")
            found[twin] = tensor
    return found


def _head(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {
        "dense.weight": "transform.dense.weight",
        "dense.bias": "transform.dense.bias",
        "norm.weight": "transform.LayerNorm.weight",
        "norm.bias": "transform.LayerNorm.bias",
        "bias": "bias",
    }
    if not tensors:
        return {}
    return {f"lm_head.{here}": tensors[f"predictions.{there}"] for here, there in names.items()}
