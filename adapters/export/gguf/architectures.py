"""Language models that llama.cpp can run: names of architectures and tensors, and the order of rotary pairs.

llama.cpp rotates neighbouring values of queries and keys for LLaMA and Mistral, where transformers rotates the two
halves of a head. Its converter therefore reorders the rows of both matrices, and a LoRA on them must be reordered too:
without that, llama.cpp loads it and computes other numbers. Other families keep the order of transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inlay.adapters.export.gguf.gguf_file import Array, GgufError

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of", "head_counts", "reordered", "tensor_name"]


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp."""

    name: str
    """``general.architecture``."""
    reorders: bool = False
    """Whether rows of queries and keys are reordered."""
    plain: bool = True
    """Whether the file has the weights of transformers, apart from that order; Gemma's norms are stored plus one."""
    scale: bool = False
    """Whether llama.cpp multiplies given embeddings by the square root of their width, as it does with a token's."""


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", reorders=True),
    "mistral": Architecture("llama", reorders=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma": Architecture("gemma", plain=False, scale=True),
    "gemma2": Architecture("gemma2", plain=False, scale=True),
    "gemma3_text": Architecture("gemma3", plain=False),
}
"""``model_type`` of transformers -> architecture."""

_LAYER = re.compile(r"model\.layers\.(\d+)\.(\w+(?:\.\w+)?)")
_IN_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def architecture_of(family: str) -> Architecture:
    """The architecture of a language model.

    Args:
        family: its ``model_type``.

    Raises:
        GgufError: one that llama.cpp does not have, or whose tensors are not known here.
    """
    if family not in ARCHITECTURES:
        raise GgufError(
            f"expected a language model of a family that inlay can write for llama.cpp ({', '.join(ARCHITECTURES)}), "
            f"got {family!r}; llama.cpp's own convert_lora_to_gguf.py may convert the folder lora/ of the bundle"
        )
    return ARCHITECTURES[family]


def tensor_name(module: str) -> str:
    """The name of a module of transformers in a GGUF file.

    Raises:
        GgufError: a module that has none there.

    Example:
        >>> tensor_name("model.layers.3.self_attn.q_proj")
        'blk.3.attn_q'
    """
    if module in _OUTSIDE:
        return _OUTSIDE[module]
    found = _LAYER.fullmatch(module)
    if found is None or found[2] not in _IN_LAYER:
        raise GgufError(f"{module}: expected a module of a LLaMA-like model, this one has no name in a GGUF file")
    return f"blk.{found[1]}.{_IN_LAYER[found[2]]}"


def head_counts(config: Any) -> tuple[int, int]:
    """Heads of the queries, and of the keys and values."""
    heads = int(config.num_attention_heads)
    return heads, int(getattr(config, "num_key_value_heads", None) or heads)


def reordered(module: str, rows: Array, config: Any, architecture: Architecture) -> Array:
    """A weight, bias or LoRA matrix ``B`` ``[out, ...]`` of a module in llama.cpp's order of rows."""
    kind = module.rpartition(".")[2]
    if not architecture.reorders or kind not in ("q_proj", "k_proj"):
        return rows
    queries, keys = head_counts(config)
    heads = queries if kind == "q_proj" else keys
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)
