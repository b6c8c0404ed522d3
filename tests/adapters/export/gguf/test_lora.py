"""A LoRA as GGUF: in llama.cpp's order of rows it is the same change of the same weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_languages import DECODERS, make_language

from inlay.adapters.export.gguf.architectures import ARCHITECTURES, reordered, tensor_name
from inlay.adapters.export.gguf.gguf_file import GgufError, read_back, write_gguf
from inlay.adapters.export.gguf.lora import lora_content
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.adapters.llm_parts.lora_config import LoraConfig


def drawn(family: str) -> tuple[Any, LoraPart]:
    model = make_language(DECODERS[family], 100)
    lora = LoraPart.for_model(model, LoraConfig(r=3, alpha=6.0))
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.normal_()
    return model, lora


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"])
def test_base_plus_lora_is_the_merged_weight(family: str) -> None:
    model, lora = drawn(family)
    content = lora_content(lora, model.config)
    architecture = ARCHITECTURES[family]
    assert len(content.tensors) == 2 * 2 * 7
    for target in lora.targets:
        weight = model.get_parameter(f"{target}.weight").detach()
        down, up = lora.matrices(target)
        merged = (weight + lora.config.scale * up @ down).detach().numpy()
        name = f"{tensor_name(target)}.weight"
        a, b = (content.tensors[f"{name}.lora_{part}"].load() for part in "ab")
        base = reordered(target, weight.numpy(), model.config, architecture)
        found = base + content.header["adapter.lora.alpha"] / a.shape[0] * b @ a
        np.testing.assert_allclose(found, reordered(target, merged, model.config, architecture), atol=1e-5)


def test_the_header_tells_what_it_is_for(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    model, lora = drawn("mistral")
    content = lora_content(lora, model.config, "mine")
    assert content.architecture == "llama"
    assert content.header == {
        "general.type": "adapter",
        "general.name": "mine",
        "adapter.type": "lora",
        "adapter.lora.alpha": 6.0,
    }
    write_gguf(tmp_path / "lora.gguf", content)
    assert read_back(tmp_path / "lora.gguf", content).largest_difference == 0


def test_a_family_without_an_architecture_is_refused() -> None:
    model, lora = drawn("opt")
    with pytest.raises(GgufError, match="got 'opt'"):
        lora_content(lora, model.config)
