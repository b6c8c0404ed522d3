"""Targets of LoRA in seventeen families, with peft's numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from tiny_languages import DECODERS, make_language
from torch import nn

from inlay.adapters.llm_parts.lora import LoraConfig, LoraError, LoraPart, resolve_targets
from inlay.adapters.llm_parts.lora_targets import left_out, linear_sizes

Make = Callable[..., Any]
NAMES = {
    "llama": "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj",
    "mistral": "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj",
    "qwen2": "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj",
    "qwen3": "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj",
    "qwen3_moe": "k_proj o_proj q_proj v_proj",
    "mixtral": "k_proj o_proj q_proj v_proj",
    "gemma2": "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj",
    "phi": "dense fc1 fc2 k_proj q_proj v_proj",
    "phi3": "down_proj gate_up_proj o_proj qkv_proj",
    "gpt_neox": "dense dense_4h_to_h dense_h_to_4h query_key_value",
    "opt": "fc1 fc2 k_proj out_proj q_proj v_proj",
    "falcon": "dense dense_4h_to_h dense_h_to_4h query_key_value",
    "gpt2": "c_attn c_fc c_proj",
    "bloom": "dense dense_4h_to_h dense_h_to_4h query_key_value",
    "mpt": "Wqkv down_proj out_proj up_proj",
    "mamba": "in_proj out_proj x_proj",
    "t5": "k o q v wi wo",
}
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")


def scores(model: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    target = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    logits: torch.Tensor = model(input_ids=ids, **target).logits
    return logits


def trained(part: LoraPart) -> None:
    torch.manual_seed(1)
    for parameter in part.parameters():
        nn.init.normal_(parameter, std=0.2)


def pefts(model: Any, part: LoraPart) -> dict[str, nn.Parameter]:
    """The same LoRA by peft, put into a model; its matrices by our names."""
    config = PeftConfig(r=part.config.r, lora_alpha=part.config.alpha, target_modules=list(part.targets))
    inject_adapter_in_model(config, model)
    found = {}
    for target in part.targets:
        layer = model.get_submodule(target)
        for matrix, own in zip((layer.lora_A, layer.lora_B), part.matrices(target), strict=True):
            matrix["default"].weight.data = own.detach().clone()
        found |= {f"{target}.{name}": getattr(layer, f"lora_{name}")["default"].weight for name in "AB"}
    return found


@pytest.mark.parametrize("family", NAMES)
def test_all_linear_names_the_linears_of_each_family(family_of: Make, family: str) -> None:
    model = family_of(family)
    part = LoraPart.for_model(model, LoraConfig(r=2))
    assert part.config.targets == tuple(NAMES[family].split())
    assert list(resolve_targets(model, part.config)) == list(part.targets)  # the names mean the same modules
    head = model.get_output_embeddings()
    assert all(model.get_submodule(target) is not head for target in part.targets)


@pytest.mark.parametrize("family", NAMES)
def test_logits_and_gradients_are_pefts_and_undo_is_exact(family_of: Make, family: str) -> None:
    # peft refuses Mamba's out_proj, for kernels that are used in training mode only.
    targets = ("in_proj", "x_proj") if family == "mamba" else "all-linear"
    model = family_of(family).double()
    part = LoraPart.for_model(model, LoraConfig(r=3, alpha=5.0, targets=targets)).double()
    trained(part)
    before = dict(model.named_modules())
    bare = scores(model).detach()
    attachment = part.attach(model)
    ours = scores(model)
    ours.square().mean().backward()
    attachment.close()
    after = dict(model.named_modules())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    assert torch.equal(scores(model), bare)

    matrices = pefts(model, part)
    theirs = scores(model)
    assert (ours - bare).abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    theirs.square().mean().backward()
    for target in part.targets:
        for name, own in zip("AB", part.matrices(target), strict=True):
            assert own.grad.any()
            torch.testing.assert_close(own.grad, matrices[f"{target}.{name}"].grad, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("family", ["llama4", "phimoe", "jetmoe", "qwen2_moe", "afmoe"])
def test_routers_are_no_targets_and_are_named_with_the_experts(family: str) -> None:
    model = make_language(DECODERS[family], 378)
    part = LoraPart.for_model(model, LoraConfig(r=2))
    assert not [name for name in part.targets if "router" in name or "gate" in name.rpartition(".")[2].split("_")[-1]]
    assert any(
        "experts" in name and name.endswith("(experts stored as stacked parameters)") for name in left_out(model)
    )
    with closing(part.attach(model)):
        scores(model)  # Llama 4's and Phi-MoE's routers are an nn.Linear that returns two tensors


def test_a_gate_of_a_feed_forward_is_a_target(family_of: Make) -> None:
    assert left_out(family_of("llama")) == ()


def test_an_output_that_the_model_changes_in_place_trains() -> None:
    model = make_language(DECODERS["llama4"], 378)
    part = LoraPart.for_model(model, LoraConfig(r=2))
    with closing(part.attach(model)):
        scores(model).square().mean().backward()
    assert all(part.matrices(name)[1].grad.any() for name in part.targets)


def test_unknown_target_names_those_that_exist(llm_of: Any) -> None:
    with pytest.raises(
        LoraError, match=r"named query; it has down_proj, .*q_proj.*never a target.*--lora\.targets all-linear"
    ):
        resolve_targets(llm_of("llama").model, LoraConfig(r=4, targets=("query",)))


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_the_head_is_never_a_target(family_of: Make, family: str) -> None:
    model = family_of(family)
    (name,) = (name for name, module in model.named_modules() if module is model.get_output_embeddings())
    with pytest.raises(LoraError, match=f"named {name}; it has"):
        resolve_targets(model, LoraConfig(targets=(name,)))


def test_every_resolved_module_is_listed_by_its_full_name(llm_of: Any) -> None:
    found = resolve_targets(llm_of("llama").model, LoraConfig(r=4, targets=("q_proj", "v_proj")))
    assert list(found) == [
        f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")
    ]


def test_a_target_may_be_the_end_of_a_path(family_of: Make) -> None:
    found = resolve_targets(
        family_of("llama"), LoraConfig(targets=("1.self_attn.q_proj", "model.layers.0.mlp.up_proj"))
    )
    assert list(found) == ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj"]


def test_longer_names_are_taken_where_short_ones_name_more(family_of: Make) -> None:
    model = family_of("llama")
    model.up_proj = nn.Linear(2, 2)  # beside the layers
    part = LoraPart.for_model(model, LoraConfig(r=2))
    assert "up_proj" not in part.targets
    assert {"mlp.up_proj", "self_attn.q_proj"} < set(part.config.targets)
    assert list(resolve_targets(model, part.config)) == list(part.targets)


def test_a_linear_that_the_model_never_calls_is_refused(family_of: Make) -> None:
    with pytest.raises(LoraError, match=r"weight of dt_proj directly .*choose among in_proj, out_proj, x_proj"):
        resolve_targets(family_of("mamba"), LoraConfig(targets=("dt_proj",)))


def test_another_attached_lora_does_not_hide_the_linears(family_of: Make) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, LoraConfig(r=2))
    linears = {name: model.get_submodule(name) for name in part.targets}
    part.attach(model)
    assert resolve_targets(model, LoraConfig()) == linears
    assert LoraPart.for_model(model, LoraConfig(r=2)).config == part.config


def test_any_module_with_both_sizes_is_a_linear() -> None:
    class Packed(nn.Module):
        in_features, out_features = 3, 5

    assert linear_sizes(Packed()) == (3, 5)
    assert linear_sizes(nn.Bilinear(2, 3, 4)) is None


@pytest.mark.parametrize("change", ["missing", "more", "shape"])
def test_another_model_is_refused_and_left_as_it_is(family_of: Make, change: str) -> None:
    model = family_of("llama")
    part = LoraPart.for_model(model, LoraConfig(r=2))
    other = copy.deepcopy(model)
    attention = other.model.layers[1].self_attn
    if change == "missing":
        del attention.q_proj
    elif change == "more":
        attention.extra = nn.ModuleDict({"q_proj": nn.Linear(2, 2)})
    else:
        attention.q_proj = nn.Linear(32, 40)
    said = {
        "missing": "layers.1.self_attn.q_proj: expected a linear of this name",
        "more": "extra.q_proj: expected LoRA matrices for this target",
        "shape": "layers.1.self_attn.q_proj: expected a linear of 32 -> 32, found 32 -> 40",
    }
    before = dict(other.named_modules())
    with pytest.raises(LoraError, match=said[change]):
        part.attach(other)
    assert dict(other.named_modules()) == before
    assert not part.attached
