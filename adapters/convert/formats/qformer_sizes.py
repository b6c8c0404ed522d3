"""Settings of a Q-Former projector (Li et al., 2023, https://arxiv.org/abs/2301.12597) from its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from inlay.adapters.convert.source import ConvertError

__all__ = ["HEAD", "INSTRUCT", "PLAIN", "qformer_sizes"]

PLAIN, INSTRUCT = "inputs.image.qformer.", "inputs.image."
"""Name prefixes of the two Q-Formers: BLIP-2's, and InstructBLIP's with a text branch."""
HEAD = 64
"""Width of an attention head of BERT, which is not in the files of LAVIS."""


def qformer_sizes(tensors: Mapping[str, Tensor], start: str, where: object) -> dict[str, Any]:
    """Fields of the projector's configuration that the shapes determine.

    Args:
        tensors: the tensors by our names.
        start: :data:`PLAIN` or :data:`INSTRUCT`.
        where: the source, for errors.

    Raises:
        ConvertError: a tensor that determines a size is missing or has another rank.
    """
    layers = f"{start}model.encoder.layer."
    numbers = {int(found[1]) for name in tensors if (found := re.match(rf"{re.escape(layers)}(\d+)\.", name))}
    crossing = sorted(n for n in numbers if f"{layers}{n}.crossattention.attention.key.weight" in tensors)
    needed = {
        "query_tokens": (f"{start}query_tokens", 3),
        "cross-attention key": (f"{layers}0.crossattention.attention.key.weight", 2),
        "feed-forward block": (f"{layers}0.intermediate_query.dense.weight", 2),
    }
    for what, (name, axes) in needed.items():
        if name not in tensors or tensors[name].dim() != axes:
            raise ConvertError(f"{where}: expected a Q-Former, whose {what} is missing or has another rank ({name})")
    queries, key, ffn = (tensors[name].shape for name, _ in needed.values())
    sizes = {
        "width_in": key[1],
        "queries": queries[1],
        "hidden": queries[2],
        "layers": max(numbers) + 1,
        "heads": max(1, queries[2] // HEAD),
        "ffn": ffn[0],
        "cross_every": crossing[1] - crossing[0] if len(crossing) > 1 else 2,
    }
    if (out := tensors.get("inputs.image.projection.weight")) is not None:
        sizes["width_out"] = out.shape[0]
    if start == INSTRUCT:
        for field, table in (("vocabulary", "word_embeddings"), ("text_positions", "position_embeddings")):
            name = f"{start}model.embeddings.{table}.weight"
            if name not in tensors:
                raise ConvertError(f"{where}: expected a Q-Former with a text branch, whose {table} are missing")
            sizes[field] = len(tensors[name])
        sizes["prompt_tokens"] = min(128, sizes["text_positions"])
    return sizes
