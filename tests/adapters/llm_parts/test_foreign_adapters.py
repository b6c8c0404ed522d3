"""Adapter layers of other libraries are found, with advice that works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, OFTConfig, get_peft_model, inject_adapter_in_model

from inlay.adapters.llm_parts import lora
from inlay.adapters.llm_parts.foreign_adapters import foreign_adapters
from inlay.adapters.llm_parts.lora import LoraError, LoraPart

Make = Callable[..., Any]
TARGETS = ["q_proj"]
KINDS: dict[str, Any] = {
    "lora": LoraConfig(target_modules=TARGETS),
    "dora": LoraConfig(target_modules=TARGETS, use_dora=True),
    "ia3": IA3Config(target_modules=TARGETS, feedforward_modules=[]),
    "oft": OFTConfig(target_modules=TARGETS, oft_block_size=8),
}


def test_a_bare_model_has_none(family_of: Make) -> None:
    assert foreign_adapters(family_of("llama")) is None


def test_our_own_lora_is_not_foreign(family_of: Make) -> None:
    model = family_of("llama")
    LoraPart.for_model(model, lora.LoraConfig(r=2)).attach(model)
    assert foreign_adapters(model) is None


@pytest.mark.parametrize("kind", KINDS)
def test_pefts_layers_are_found_and_gone_after_merging(family_of: Make, kind: str) -> None:
    model = family_of("llama")
    peft = get_peft_model(model, KINDS[kind])
    for found in (foreign_adapters(model), foreign_adapters(peft)):
        assert found is not None
        assert "peft's" in found
        assert "merge_and_unload" in found
    assert foreign_adapters(peft.merge_and_unload()) is None


@pytest.mark.parametrize("way", ["inject", "add_adapter"])
def test_layers_without_a_peft_model_around_them_are_found(family_of: Make, way: str) -> None:
    model = family_of("llama")
    inject_adapter_in_model(KINDS["lora"], model) if way == "inject" else model.add_adapter(KINDS["lora"])
    assert "peft's Linear at model.layers.0.self_attn.q_proj and 2 more" in str(foreign_adapters(model))


def test_a_configuration_that_was_left_behind_is_found(family_of: Make) -> None:
    model = family_of("llama")
    model.peft_config = {"default": KINDS["lora"]}
    assert "peft_config" in str(foreign_adapters(model))


@pytest.mark.parametrize("as_parameters", [False, True])
def test_lora_layers_of_unknown_libraries_are_found(family_of: Make, as_parameters: bool) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("lora_A", "lora_B"):
                linear = torch.nn.Linear(2, 2)
                setattr(self, name, linear.weight if as_parameters else linear)

    model = family_of("llama")
    model.model.layers[1].extra = Own()
    assert "the LoRA layer Own at model.layers.1.extra" in str(foreign_adapters(model))


def test_ours_is_not_attached_to_them(family_of: Make) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, lora.LoraConfig(r=2))
    inject_adapter_in_model(KINDS["lora"], model)
    before = dict(model.named_modules())
    with pytest.raises(LoraError, match="already has an adapter of another library"):
        part.attach(model)
    assert dict(model.named_modules()) == before
