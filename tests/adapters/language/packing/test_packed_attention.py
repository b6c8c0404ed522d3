"""Rows end to end against the padded batch: loss and gradients, in every family that can read them so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inlay.adapters.language.checkpointing import recomputed
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.adapters.language.packing.packed_attention import WORTH, Packed, packed_attention, refusal

FAMILIES = ("llama", "qwen2", "qwen3", "opt")
LENGTHS = (9, 4, 6)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Three rows of 9, 4 and 6 positions; the second has no label."""
    torch.manual_seed(1)
    place = torch.arange(max(LENGTHS)).expand(len(LENGTHS), -1)
    mask = (place < torch.tensor(LENGTHS)[:, None]).long()
    rows = (torch.rand(mask.shape) < 0.5) & mask.bool()
    rows[1], rows[0, 8], rows[2, 0] = False, True, True
    targets = torch.randint(5, 40, (int(rows.sum()),))
    return {"embeddings": torch.randn(*mask.shape, 32), "mask": mask, "rows": rows, "targets": targets}


def step(llm: Any, batch: dict[str, Tensor], *, packs: bool) -> tuple[Tensor, Tensor]:
    """Loss, and its gradient to the embeddings; without packing all positions are read."""
    embeddings = batch["embeddings"].clone().requires_grad_()
    plan = LossPlan.of(batch["rows"], batch["targets"], batch["mask"])
    loss: Tensor = llm.loss(embeddings, batch["mask"], plan, prune=packs)
    (pull,) = torch.autograd.grad(loss, embeddings)
    return loss.detach(), pull


def positions(llm: Any) -> list[int]:
    """How many positions the MLP of the first layer is given, from now on."""
    seen: list[int] = []
    name = "fc1" if llm.family == "opt" else "mlp"
    layer = llm.model.get_decoder().layers[0]
    getattr(layer, name).register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:-1].numel()))
    return seen


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_padded_batch(
    llm_of: Any, batch: dict[str, Tensor], family: str, attention: str
) -> None:
    llm = llm_of(family, attn_implementation=attention)
    padded = step(llm, batch, packs=False)
    seen = positions(llm)
    packed = step(llm, batch, packs=True)
    assert seen == [sum(LENGTHS)]  # the test of fast paths ran in the padded step
    for value, wanted in zip(packed, padded, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-5, atol=1e-6)
    assert llm.model.config._attn_implementation == attention


def test_grouped_heads_and_padding_in_front(llm_of: Any, batch: dict[str, Tensor]) -> None:
    llm = llm_of("llama", num_key_value_heads=1)
    turned = {name: value if name == "targets" else value.flip(1) for name, value in batch.items()}
    turned["targets"] = torch.arange(5, 5 + int(turned["rows"].sum()))
    padded, packed = step(llm, turned, packs=False), step(llm, turned, packs=True)
    torch.testing.assert_close(packed, padded, rtol=1e-5, atol=1e-6)


def test_a_row_does_not_see_its_neighbour(llm_of: Any, batch: dict[str, Tensor]) -> None:
    llm = llm_of("llama")
    alone = {
        name: value[2:, :6] if value.ndim > 1 else value[batch["rows"][:2].sum() :] for name, value in batch.items()
    }
    kept = batch["rows"].clone()
    kept[:2] = False
    both = {**batch, "rows": kept, "targets": alone["targets"]}
    loss, pull = step(llm, both, packs=True)
    torch.testing.assert_close(loss, step(llm, alone, packs=False)[0], rtol=1e-5, atol=1e-6)
    assert not pull[:2].any()


def test_little_padding_is_not_worth_it_without_a_kernel() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    mask = torch.ones(4, 10, dtype=torch.long)
    assert not Packed.of(mask).pays(gpu, torch.bfloat16)
    mask[0, 8:] = 0
    assert 2 / mask.numel() < WORTH < 5 / mask.numel()
    assert not Packed.of(mask).pays(cpu, torch.float32)
    assert not Packed.of(mask).pays(gpu, torch.float32)  # one call a row there too
    assert Packed.of(mask).pays(gpu, torch.bfloat16)
    mask[1, 7:] = 0
    assert Packed.of(mask).pays(cpu, torch.float32)


def test_nothing_behind_the_last_label_is_computed(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = torch.zeros(2, 9, dtype=torch.bool)
    rows[0, 4] = rows[1, 2] = True
    mask = torch.ones(2, 9, dtype=torch.long)
    plan = LossPlan.of(rows, torch.tensor([3, 4]), mask)
    llm.loss(torch.randn(2, 9, 32), mask, plan)
    seen = positions(llm)
    llm.loss(torch.randn(2, 9, 32), mask, plan)
    assert seen == [10]


def test_a_row_whose_real_positions_come_behind_the_last_label_is_no_trouble(llm_of: Any) -> None:
    llm = llm_of("llama")
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0]])
    rows = torch.zeros(3, 6, dtype=torch.bool)
    rows[0, 2] = rows[2, 1] = True
    both = {"embeddings": torch.randn(3, 6, 32), "mask": mask, "rows": rows, "targets": torch.tensor([7, 8])}
    torch.testing.assert_close(step(llm, both, packs=True), step(llm, both, packs=False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "changes", "why"),
    [
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}, "sliding_attention"),
        ("t5", {}, "encoder-decoder"),
        ("llama", {"attn_implementation": "flex_attention"}, "flex_attention"),
    ],
)
def test_what_a_short_test_would_not_show_is_refused_by_the_configuration(
    llm_of: Any, family: str, changes: dict[str, Any], why: str
) -> None:
    attention = changes.pop("attn_implementation", None)
    model = llm_of(family, **changes).model
    if attention:
        model.config._attn_implementation = attention
    assert why in refusal(model)
    assert not refusal(llm_of("llama").model)


def test_a_window_without_kinds_of_layers_is_refused_unless_it_is_switched_off(llm_of: Any) -> None:
    model = llm_of("llama").model
    model.config.sliding_window = 4096
    assert refusal(model) == "a sliding window"
    model.config.use_sliding_window = False
    assert not refusal(model)


def test_the_attention_is_the_model_s_own_again_after_an_error(llm_of: Any) -> None:
    llm = llm_of("llama")
    before = llm.model.config._attn_implementation
    with pytest.raises(RuntimeError, match="stop"), packed_attention(llm.model):
        raise RuntimeError("stop")
    assert llm.model.config._attn_implementation == before


@pytest.mark.gpu
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_one_kernel_for_all_rows_on_a_gpu(llm_of: Any, batch: dict[str, Tensor], kv_heads: int) -> None:
    llm = llm_of("llama", num_key_value_heads=kv_heads)
    llm.to("cuda", torch.bfloat16)
    moved = {name: value.cuda() for name, value in batch.items()}
    moved["embeddings"] = moved["embeddings"].bfloat16()
    packed, padded = step(llm, moved, packs=True), step(llm, moved, packs=False)
    torch.testing.assert_close(packed[0], padded[0], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_layers_that_run_again_read_rows_end_to_end_too(llm_of: Any, batch: dict[str, Tensor], family: str) -> None:
    llm = llm_of(family)
    plain = step(llm, batch, packs=False)
    seen = positions(llm)
    with recomputed(llm.model):
        again = step(llm, batch, packs=True)
    assert seen == [sum(LENGTHS)] * 2
    torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_hooks_of_others_on_the_layers_run_in_a_packed_pass(
    llm_of: Any, batch: dict[str, Tensor], attention: str
) -> None:
    llm = llm_of("llama", attn_implementation=attention)
    llm.model.model.layers[-1].register_forward_hook(lambda _, __, output: output * 2)
    torch.testing.assert_close(step(llm, batch, packs=True), step(llm, batch, packs=False), rtol=1e-5, atol=1e-6)
    seen = positions(llm)
    step(llm, batch, packs=True)
    assert seen == [sum(LENGTHS)]
