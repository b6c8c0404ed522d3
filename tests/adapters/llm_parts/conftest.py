"""Tiny random models of many families, as transformers builds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers

WIDTH = 32
_GQA = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
_LLAMA = _GQA | {"intermediate_size": 48, "tie_word_embeddings": False}
_MOE = _LLAMA | {"head_dim": 8, "num_experts_per_tok": 2}
_OLD = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _LLAMA),
    "mistral": ("Mistral", _LLAMA),
    "qwen2": ("Qwen2", _LLAMA),
    "qwen3": ("Qwen3", _LLAMA | {"head_dim": 8}),
    "qwen3_moe": ("Qwen3Moe", _MOE | {"num_experts": 4, "moe_intermediate_size": 16}),
    "mixtral": ("Mixtral", _MOE | {"num_local_experts": 4}),
    "gemma2": ("Gemma2", _LLAMA | {"head_dim": 8, "tie_word_embeddings": True}),
    "phi": ("Phi", _OLD | {"intermediate_size": 48}),
    "phi3": ("Phi3", _LLAMA),
    "gpt_neox": ("GPTNeoX", _OLD | {"intermediate_size": 48}),
    "opt": ("OPT", _OLD | {"ffn_dim": 48, "word_embed_proj_dim": WIDTH}),
    "falcon": ("Falcon", _OLD | {"new_decoder_architecture": False}),
    "gpt2": ("GPT2", {"n_embd": WIDTH, "n_layer": 2, "n_head": 4}),
    "bloom": ("Bloom", {"hidden_size": WIDTH, "n_layer": 2, "n_head": 4}),
    "mpt": ("Mpt", {"d_model": WIDTH, "n_layers": 2, "n_heads": 4}),
    "mamba": ("Mamba", {"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 4}),
    "t5": ("T5", {"d_model": WIDTH, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}),
}


def make_family(name: str, seed: int = 0) -> Any:
    """A two-layer model of a family, frozen, in eval mode."""
    stem, fields = FAMILIES[name]
    shared = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if name == "t5":
        shared["decoder_start_token_id"] = 0
    config = getattr(transformers, f"{stem}Config")(**(shared | fields))
    config._experts_implementation = "eager"  # the grouped product knows no float64
    torch.manual_seed(seed)
    head = "ForConditionalGeneration" if name == "t5" else "LMHeadModel" if name == "gpt2" else "ForCausalLM"
    return getattr(transformers, f"{stem}{head}")(config).eval().requires_grad_(False)


@pytest.fixture
def family_of() -> Callable[..., Any]:
    return make_family
