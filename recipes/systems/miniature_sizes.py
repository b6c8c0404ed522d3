"""Sizes of all kinds of input projectors on the miniature backbones, shared by all systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["MINIATURE_PROJECTORS"]

_QFORMER: Mapping[str, Any] = {
    "queries": 24,
    "hidden": 128,
    "layers": 2,
    "heads": 4,
    "ffn": 512,
    "cross_every": 1,
    "dropout": 0.0,
}

MINIATURE_PROJECTORS: Mapping[str, Mapping[str, Any]] = {
    "qformer": _QFORMER,
    "instruct_qformer": {**_QFORMER, "text_positions": 64, "prompt_tokens": 48},
    "perceiver": {"latents": 16, "depth": 2, "heads": 4, "head_width": 32},
    "cross_attention": {"queries": 16, "head_width": 32},
}
"""Kind -> fields except the widths; other kinds have none."""
