"""LoRA: counts, targets, scope, and what the LLM looks like before and after."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import get_peft_model

from inlay.adapters.llm_parts.lora import LoraConfig, LoraError, LoraPart, resolve_targets

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def test_parameter_count_equals_pefts(llm_of: Any) -> None:
    part = LoraPart.for_model(llm_of("llama").model, LoraConfig(r=4, targets=ALL))
    peft = get_peft_model(llm_of("llama").model, PeftConfig(r=4, target_modules=list(ALL)))
    theirs = sum(parameter.numel() for parameter in peft.parameters() if parameter.requires_grad)
    assert sum(parameter.numel() for parameter in part.parameters()) == theirs


def test_every_resolved_module_is_listed_by_its_full_name(llm_of: Any) -> None:
    found = resolve_targets(llm_of("llama").model, LoraConfig(r=4, targets=("q_proj", "v_proj")))
    assert list(found) == [
        f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
    ]


def test_unknown_target_names_those_that_exist(llm_of: Any) -> None:
    with pytest.raises(LoraError, match=r"named query; it has .*q_proj"):
        resolve_targets(llm_of("llama").model, LoraConfig(r=4, targets=("query",)))


@pytest.mark.parametrize("rank", [0, -1, 1025])
def test_rank_out_of_range_is_refused(rank: int) -> None:
    with pytest.raises(LoraError, match="1 to 1024"):
        LoraConfig(r=rank)


def test_undo_puts_the_same_objects_back(llm_of: Any) -> None:
    model = llm_of("llama").model
    before = dict(model.named_modules())
    LoraPart.for_model(model, LoraConfig(r=4)).attach(model).undo()
    after = dict(model.named_modules())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert not hasattr(model, "peft_config")


def test_attached_layers_hold_the_parts_own_parameters(llm_of: Any) -> None:
    model = llm_of("llama").model
    part = LoraPart.for_model(model, LoraConfig(r=4))
    part.attach(model)
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert trainable == {id(parameter) for parameter in part.parameters()}


def test_fresh_lora_changes_nothing(llm_of: Any) -> None:
    llm = llm_of("llama")
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        before = llm.logits(embeddings, mask)
        LoraPart.for_model(llm.model, LoraConfig(r=4)).attach(llm.model)
        assert torch.equal(llm.logits(embeddings, mask), before)


def test_dropout_follows_the_part_while_the_llm_stays_in_eval_mode(llm_of: Any) -> None:
    model = llm_of("llama").model
    part = LoraPart.for_model(model, LoraConfig(r=4, dropout=0.5))
    part.attach(model)
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    part.train()
    assert all(module.training for module in dropouts)
    part.eval()
    assert not any(module.training for module in dropouts)
    assert not model.training


def test_a_frozen_update_of_zero_costs_nothing_and_changes_nothing(llm_of: Any) -> None:
    llm = llm_of("llama")
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    part = LoraPart.for_model(llm.model, LoraConfig(r=4))
    part.attach(llm.model)
    part.requires_grad_(False)
    layer = llm.model.get_submodule(part.targets[0])
    with torch.no_grad():
        before = llm.logits(embeddings, mask)
        with part.sparing():
            assert layer.disable_adapters
            assert torch.equal(llm.logits(embeddings, mask), before)
        assert not layer.disable_adapters
    assert not any(parameter.requires_grad for parameter in part.parameters())


@pytest.mark.parametrize("why", ["trains", "is not zero"])
def test_an_update_that_trains_or_is_not_zero_stays_in(llm_of: Any, why: str) -> None:
    model = llm_of("llama").model
    part = LoraPart.for_model(model, LoraConfig(r=4))
    part.attach(model)
    if why == "is not zero":
        part.requires_grad_(False)
        part.matrices(part.targets[-1])[1].data.fill_(0.1)
    with part.sparing():
        assert not model.get_submodule(part.targets[0]).disable_adapters
