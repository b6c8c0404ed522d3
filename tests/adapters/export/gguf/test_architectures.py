"""Names of tensors and the order of rotary pairs, against gguf's own table and against rotation itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, Qwen2Config
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from inlay.adapters.export.gguf.architectures import (
    ARCHITECTURES,
    architecture_of,
    head_counts,
    reordered,
    tensor_name,
)
from inlay.adapters.export.gguf.gguf_file import GgufError

MODULES = (
    "model.embed_tokens",
    "model.norm",
    "lm_head",
    "model.layers.3.input_layernorm",
    "model.layers.3.self_attn.q_proj",
    "model.layers.3.self_attn.k_proj",
    "model.layers.3.self_attn.v_proj",
    "model.layers.3.self_attn.o_proj",
    "model.layers.3.self_attn.q_norm",
    "model.layers.3.self_attn.k_norm",
    "model.layers.3.post_attention_layernorm",
    "model.layers.3.mlp.gate_proj",
    "model.layers.3.mlp.up_proj",
    "model.layers.3.mlp.down_proj",
)


@pytest.mark.parametrize("name", [name for name, entry in ARCHITECTURES.items() if entry.plain])
def test_names_are_those_of_the_package(name: str) -> None:
    gguf = pytest.importorskip("gguf")
    numbers = {text: number for number, text in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(numbers[architecture_of(name).name], 4)
    for module in MODULES:
        expected = table.get_name(module)
        assert expected in (None, tensor_name(module)), module  # only Qwen 3 has norms of queries and keys


@pytest.mark.parametrize("name", ["gemma", "gemma2", "gemma3_text"])
def test_names_of_the_linears_of_gemma(name: str) -> None:
    gguf = pytest.importorskip("gguf")
    numbers = {text: number for number, text in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(numbers[architecture_of(name).name], 4)
    for module in (module for module in MODULES if module.endswith("_proj")):
        assert tensor_name(module) == table.get_name(module)


def test_unknown_families_and_modules_are_named() -> None:
    with pytest.raises(GgufError, match=r"llama, mistral, .*got 'opt'.*convert_lora_to_gguf.py"):
        architecture_of("opt")
    with pytest.raises(GgufError, match=r"model.layers.0.self_attn.rotary: expected a module of a LLaMA-like model"):
        tensor_name("model.layers.0.self_attn.rotary")


def _interleaved(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """The rotation of llama.cpp for LLaMA: neighbouring values of ``[positions, width]``."""
    one, two = x[:, 0::2], x[:, 1::2]
    half = x.shape[1] // 2
    turned = torch.stack((one * cos[:, :half] - two * sin[:, :half], one * sin[:, :half] + two * cos[:, :half]), -1)
    return turned.flatten(1)


def test_neighbouring_pairs_of_reordered_rows_are_rotated_like_halves() -> None:
    """Scores of queries and keys by transformers, and by llama.cpp's rotation of the reordered projections."""
    config = LlamaConfig(hidden_size=32, num_attention_heads=4, num_key_value_heads=2)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(32, 32, generator=generator), torch.randn(16, 32, generator=generator)
    states = torch.randn(5, 32, generator=generator)
    angles = torch.outer(torch.arange(5.0), 10000 ** -(torch.arange(0, 8, 2) / 8)).repeat(1, 2)
    cos, sin = angles.cos(), angles.sin()
    llama = ARCHITECTURES["llama"]
    turned = {
        name: torch.from_numpy(reordered(f"model.layers.0.self_attn.{name}", rows.numpy(), config, llama))
        for name, rows in (("q_proj", query), ("k_proj", key))
    }
    for head in range(4):
        q, k = slice(8 * head, 8 * head + 8), slice(8 * (head // 2), 8 * (head // 2) + 8)
        ours = [(states @ query[q].T)[None, None], (states @ key[k].T)[None, None]]
        one, two = apply_rotary_pos_emb(*ours, cos[None], sin[None])
        expected = one[0, 0] @ two[0, 0].T
        q_rotated = _interleaved(states @ turned["q_proj"][q].T, cos, sin)
        found = q_rotated @ _interleaved(states @ turned["k_proj"][k].T, cos, sin).T
        torch.testing.assert_close(found, expected)
        plain = _interleaved(states @ query[q].T, cos, sin) @ _interleaved(states @ key[k].T, cos, sin).T
        assert not torch.allclose(plain, expected)


@pytest.mark.parametrize(("family", "module"), [("llama", "v_proj"), ("qwen2", "q_proj"), ("gemma", "k_proj")])
def test_all_other_rows_keep_their_order(family: str, module: str) -> None:
    config: Any = LlamaConfig(hidden_size=32, num_attention_heads=4)
    rows = np.arange(64.0).reshape(32, 2)
    found = reordered(f"model.layers.0.self_attn.{module}", rows, config, ARCHITECTURES[family])
    assert np.array_equal(found, rows)


def test_head_counts_without_groups() -> None:
    assert head_counts(Qwen2Config(num_attention_heads=8, num_key_value_heads=2)) == (8, 2)
    assert head_counts(type("Config", (), {"num_attention_heads": 8})()) == (8, 8)
