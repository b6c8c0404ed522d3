"""The language model as GGUF: transformers reads the same weights and the same config from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_languages import DECODERS, make_language
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config

from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import GgufError, read_back, write_gguf
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.adapters.llm_parts.lora_config import LoraConfig

gguf = pytest.importorskip("gguf")

SIZES = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.filterwarnings("ignore")
def test_transformers_reads_the_same_model(family: str, tmp_path: Path) -> None:
    model_class, config_class, sizes = DECODERS[family]
    if family == "qwen3":
        sizes = {**sizes, "head_dim": 128}  # transformers reads no other from GGUF
    model = make_language((model_class, config_class, sizes), 100)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)  # they begin at zero
    content = base_content(model, "f32")
    write_gguf(tmp_path / "base.gguf", content)
    assert read_back(tmp_path / "base.gguf", content).largest_difference == 0
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="base.gguf")
    held, found = model.state_dict(), read.state_dict()
    assert held.keys() == found.keys()
    assert all(torch.equal(held[name], found[name]) for name in held)
    named = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    for name in (*named, "vocab_size", "max_position_embeddings", "rms_norm_eps"):
        assert getattr(read.config, name) == pytest.approx(getattr(model.config, name)), name


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_fewer_bits(kind: Any, tmp_path: Path) -> None:
    content = base_content(LlamaForCausalLM(LlamaConfig(**SIZES)), kind)
    write_gguf(tmp_path / "base.gguf", content)
    assert read_back(tmp_path / "base.gguf", content).tensors == 21
    kinds = {name: tensor.kind for name, tensor in content.tensors.items()}
    assert kinds["blk.0.attn_norm.weight"] == "f32"
    assert kinds["blk.0.attn_q.weight"] == kinds["token_embd.weight"] == kind


def test_tied_embeddings_are_stored_once() -> None:
    content = base_content(LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)), "f16")
    assert "output.weight" not in content.tensors
    assert "token_embd.weight" in content.tensors


def test_an_attached_lora_is_left_out() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    plain = base_content(model, "f32")
    undo = LoraPart.for_model(model, LoraConfig(r=2)).attach(model)
    assert base_content(model, "f32").tensors.keys() == plain.tensors.keys()
    undo.close()


def test_the_factors_of_llama_3() -> None:
    """Against the formula of Meta's release: long waves are slowed, short ones kept, those between blended."""
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    content = base_content(LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=rope)), "f32")
    expected = []
    for index in range(8):
        wave = 2 * torch.pi * 500000 ** (index / 8)
        smooth = (64 / wave - 1) / 3
        blended = 1 / ((1 - smooth) / 8 + smooth)
        expected.append(1.0 if wave < 16 else 8.0 if wave > 64 else blended)
    assert content.tensors["rope_freqs.weight"].load().tolist() == pytest.approx(expected, rel=1e-5)
    assert len({round(value, 3) for value in expected}) > 2
    assert "rope_freqs.weight" not in base_content(LlamaForCausalLM(LlamaConfig(**SIZES)), "f32").tensors


@pytest.mark.parametrize(
    ("config", "length"),
    [
        (MistralConfig(**SIZES, sliding_window=32), 32),
        (MistralConfig(**SIZES, sliding_window=None), 128),
        (Qwen2Config(**SIZES, sliding_window=32, use_sliding_window=False), 128),
    ],
)
def test_the_context_ends_with_a_sliding_window(config: Any, length: int) -> None:
    content = base_content(AutoModelForCausalLM.from_config(config), "f32")
    assert content.header[f"{content.architecture}.context_length"] == length


def test_rotary_embeddings_of_another_kind_are_refused() -> None:
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0, "original_max_position_embeddings": 64}
    with pytest.raises(GgufError, match=r"'yarn' are not written here.*convert_hf_to_gguf.py"):
        base_content(LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=rope)))


def test_gemma_is_left_to_the_converter_of_llama_cpp() -> None:
    with pytest.raises(GgufError, match=r"got 'gemma2'; make the file with llama.cpp: python convert_hf_to_gguf.py"):
        base_content(make_language(DECODERS["gemma2"], 100))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(GgufError, match="base: expected one of f32, f16, q8_0, got 'q4_0'"):
        base_content(LlamaForCausalLM(LlamaConfig(**SIZES)), "q4_0")
