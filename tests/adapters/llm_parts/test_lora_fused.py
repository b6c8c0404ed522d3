"""Fused LoRA against the plain path (which equals peft, see test_lora_targets), and when it is not taken."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

from inlay.adapters.llm_parts import lora_fused
from inlay.adapters.llm_parts.lora import LoraConfig, LoraPart

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture
def part_of(llm_of: Any) -> Any:
    """A language model with a LoRA that is not zero."""

    def make(family: str = "llama", targets: tuple[str, ...] = TARGETS, **fields: Any) -> Any:
        llm = llm_of(family)
        torch.manual_seed(1)
        part = LoraPart.for_model(llm.model, LoraConfig(**({"r": 4} | fields), targets=targets))
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        part.attach(llm.model)
        return llm, part

    return make


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers each fused call computed for."""
    seen: list[int] = []
    own = lora_fused._lora

    def counted(x: Any, layers: Any, part: Any) -> Any:
        seen.append(len(layers))
        return own(x, layers, part)

    monkeypatch.setattr(lora_fused, "_lora", counted)
    return seen


def read(llm: Any, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    logits: torch.Tensor = llm.logits(torch.randn(2, 5, 32, dtype=llm.dtype), torch.ones(2, 5, dtype=torch.long))
    return logits


def gradients(llm: Any, part: Any) -> list[torch.Tensor]:
    part.zero_grad()
    read(llm).square().mean().backward()
    return [parameter.grad.clone() for parameter in part.parameters()]


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float(((ours - theirs).norm() / theirs.norm()).detach())


def test_logits_and_gradients_are_those_of_the_plain_path(part_of: Any) -> None:
    llm, part = part_of()
    llm.model.double(), part.double()  # in float32 the difference is all rounding
    fast, fast_gradients = read(llm).detach(), gradients(llm, part)
    with part.plain():
        assert relative(fast, read(llm)) <= 1e-12
        for ours, theirs in zip(fast_gradients, gradients(llm, part), strict=True):
            assert relative(ours, theirs) <= 1e-12


def test_layers_that_read_one_tensor_are_computed_together(part_of: Any, products: list[int]) -> None:
    llm, _ = part_of()
    with torch.no_grad():
        read(llm)
    # Queries, keys and values; output; gate and up; down: of two layers.
    assert products == [3, 1, 2, 1] * 2


def test_layers_that_turn_out_to_read_others_leave(part_of: Any, products: list[int]) -> None:
    llm, part = part_of("t5", ("q", "k", "v"))
    source, target = torch.ones(1, 3, dtype=torch.long), torch.tensor([[5, 6]])
    with part.plain(), torch.no_grad():
        expected = llm.logits(llm.embed(source), source, target=target)
    with torch.no_grad():
        for _ in range(3):
            products.clear()
            torch.testing.assert_close(llm.logits(llm.embed(source), source, target=target), expected)
    # Two layers of an encoder, two of a decoder with self- and cross-attention, whose queries read another tensor.
    assert products == [3, 3, 3, 1, 1, 1, 3, 1, 1, 1]


def test_a_tensor_that_was_written_to_is_read_again(part_of: Any) -> None:
    llm, part = part_of()
    attention = llm.model.model.layers[0].self_attn
    x = torch.randn(1, 3, 32)
    with torch.no_grad():
        attention.q_proj(x)
        x.add_(1.0)
        found = attention.k_proj(x)
        with part.plain():
            torch.testing.assert_close(found, attention.k_proj(x))


def test_a_tensor_that_was_written_to_in_inference_mode_is_read_again(part_of: Any) -> None:
    """Inference tensors do not count how often they were written to."""
    llm, part = part_of()
    attention = llm.model.model.layers[0].self_attn
    with torch.inference_mode():
        x = torch.randn(1, 3, 32)
        attention.q_proj(x)
        x.add_(1.0)
        found = attention.k_proj(x)
        with part.plain():
            torch.testing.assert_close(found, attention.k_proj(x))


def test_what_was_computed_without_gradients_is_not_used_where_they_are_asked_for(part_of: Any) -> None:
    llm, part = part_of()
    attention = llm.model.model.layers[0].self_attn
    x = torch.randn(1, 3, 32)
    with torch.no_grad():
        attention.q_proj(x)
    attention.k_proj(x).sum().backward()
    assert all(matrix.grad is not None for matrix in part.matrices("model.layers.0.self_attn.k_proj"))


def test_outputs_that_nobody_fetched_do_not_outlive_the_next_call(part_of: Any) -> None:
    llm, _ = part_of()
    attention = llm.model.model.layers[0].self_attn
    x, y = torch.randn(1, 3, 32), torch.randn(1, 3, 32)
    first = weakref.ref(x)
    with torch.no_grad():
        attention.q_proj(x)  # as if an error came before the keys
        del x
        attention.q_proj(y), attention.k_proj(y), attention.v_proj(y)
    assert first() is None
    assert [len(layer.siblings.layers) for layer in (attention.q_proj, attention.k_proj)] == [3, 3]


def test_an_output_that_nobody_reads_has_no_say(part_of: Any) -> None:
    llm, part = part_of()
    attention = llm.model.model.layers[0].self_attn
    x = torch.randn(1, 3, 32, requires_grad=True)
    attention.q_proj(x), attention.v_proj(x).sum().backward()
    (found,) = [x.grad]
    with part.plain():
        (expected,) = torch.autograd.grad(attention.v_proj(x).sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("why", ["dropout", "switched off", "another type"])
def test_it_steps_aside(part_of: Any, products: list[int], why: str) -> None:
    llm, part = part_of(dropout=0.5 if why == "dropout" else 0.0)
    part.train()
    if why == "another type":
        with torch.autocast("cpu", torch.bfloat16):
            read(llm)
    elif why == "switched off":
        part.requires_grad_(False)
        for parameter in part.parameters():
            parameter.data.zero_()
        with part.sparing():
            read(llm)
    else:
        read(llm)
    assert products == []


def test_dropout_is_no_reason_where_nothing_trains(part_of: Any, products: list[int]) -> None:
    llm, part = part_of(dropout=0.5)
    part.eval()
    read(llm)
    assert products


def test_frozen_matrices_get_no_gradient_and_let_it_through(part_of: Any) -> None:
    llm, part = part_of()
    part.requires_grad_(False)
    embeddings = torch.randn(1, 4, 32, requires_grad=True)
    mask = torch.ones(1, 4, dtype=torch.long)
    (fast,) = torch.autograd.grad(llm.logits(embeddings, mask).square().mean(), embeddings)
    with part.plain():
        (slow,) = torch.autograd.grad(llm.logits(embeddings, mask).square().mean(), embeddings)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-7)
    assert all(parameter.grad is None for parameter in part.parameters())


@pytest.mark.parametrize("autocast", [False, True])
def test_float32_matrices_on_a_bfloat16_model_keep_float32_gradients(part_of: Any, autocast: bool) -> None:
    llm, part = part_of()
    mlp = llm.model.model.layers[0].mlp
    for layer in (mlp.gate_proj, mlp.up_proj):  # the weights of both sides are the same numbers
        layer.base_layer.weight.data = layer.base_layer.weight.data.bfloat16().float()
    x = torch.randn(64, 32).bfloat16()
    names = [name for name in part.targets if name.startswith("model.layers.0.mlp.") and "down" not in name]
    matrices = [matrix for name in names for matrix in part.matrices(name)]
    exact = torch.autograd.grad(mlp.gate_proj(x.float()).sum() + mlp.up_proj(x.float()).square().sum(), matrices)
    for layer in (mlp.gate_proj, mlp.up_proj):
        layer.base_layer.weight.data = layer.base_layer.weight.data.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        gate, up = mlp.gate_proj(x), mlp.up_proj(x)
    assert gate.dtype == up.dtype == torch.bfloat16
    found = torch.autograd.grad(gate.float().sum() + up.float().square().sum(), matrices)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        assert relative(ours, theirs) <= 2e-2


@torch.inference_mode()
def test_inference_mode_counts_no_versions(part_of: Any) -> None:
    llm, part = part_of()
    fast = read(llm)
    with part.plain():
        assert relative(fast, read(llm)) <= 1e-5
