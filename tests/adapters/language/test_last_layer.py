"""The last layer at labelled positions against the whole layer: every family, mask and kind of attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.language.last_layer import last_layer_at

FAMILIES = ("llama", "qwen2", "qwen3", "opt")


def run(llm: Any, embeddings: torch.Tensor, mask: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """Last hidden states, ``[B, T, width]`` or ``[1, rows.sum(), width]``."""
    with torch.no_grad(), last_layer_at(llm.model, rows) as pruned:
        assert pruned is (rows is not None)
        states: torch.Tensor = llm.states(embeddings, mask)
    return states


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("padded", ["no", "left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_states_at_rows_are_those_of_the_whole_layer(llm_of: Any, family: str, padded: str, attention: str) -> None:
    llm = llm_of(family, attn_implementation=attention)
    torch.manual_seed(1)
    embeddings, mask = torch.randn(3, 9, 32), torch.ones(3, 9, dtype=torch.long)
    if padded != "no":
        mask[1, slice(6, None) if padded == "right" else slice(0, 3)] = 0
    rows = (torch.rand(3, 9) < 0.4) & mask.bool()
    assert len(set(rows.sum(dim=1).tolist())) > 1
    whole = run(llm, embeddings, mask, None)
    torch.testing.assert_close(run(llm, embeddings, mask, rows)[0], whole[rows], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run(llm, embeddings, mask, None), whole, rtol=0, atol=0)


def test_a_row_without_a_label_is_no_trouble(llm_of: Any) -> None:
    llm = llm_of("llama")
    embeddings, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.long)
    rows = torch.zeros(2, 5, dtype=torch.bool)
    rows[1, 2:4] = True
    torch.testing.assert_close(run(llm, embeddings, mask, rows)[0], run(llm, embeddings, mask, None)[rows])


def test_opt_with_norms_behind(llm_of: Any) -> None:
    llm = llm_of("opt", do_layer_norm_before=False)
    embeddings, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.long)
    rows = torch.rand(2, 5) < 0.5
    rows[0, 0] = True
    torch.testing.assert_close(run(llm, embeddings, mask, rows)[0], run(llm, embeddings, mask, None)[rows])


def test_the_mlp_sees_labelled_positions_and_nothing_else(llm_of: Any) -> None:
    llm = llm_of("llama")
    seen: list[tuple[int, ...]] = []
    for layer in llm.model.model.layers:
        layer.mlp.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    rows = torch.zeros(2, 5, dtype=torch.bool)
    rows[:, 3:] = True
    run(llm, torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.long), rows)
    assert seen == [(2, 5, 32), (4, 32)]


def test_nothing_behind_the_last_label_is_computed(llm_of: Any) -> None:
    llm = llm_of("llama")
    seen: list[int] = []
    llm.model.model.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    rows = torch.zeros(2, 9, dtype=torch.bool)
    rows[0, 4] = rows[1, 2] = True
    llm.loss(torch.randn(2, 9, 32), torch.ones(2, 9, dtype=torch.long), rows, torch.tensor([3, 4]))
    assert seen == [5]


@pytest.mark.parametrize("why", ["window", "hook", "other call", "family"])
def test_what_it_does_not_know_is_left_as_it_is(llm_of: Any, why: str) -> None:
    if why == "window":
        window = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}
        llm = llm_of("qwen2", **window)
    else:
        llm = llm_of("llama")
    layer = llm.model.model.layers[-1]
    if why == "hook":
        layer.register_forward_hook(lambda *_: None)
    elif why == "other call":
        layer.forward = layer.forward
    elif why == "family":
        llm.model.model.layers[-1] = type("Own", (type(layer),), {})(llm.model.config, 1)
    with last_layer_at(llm.model, torch.ones(1, 2, dtype=torch.bool)) as pruned:
        assert not pruned


def test_the_layer_is_itself_again_after_an_error(llm_of: Any) -> None:
    llm = llm_of("llama")
    with pytest.raises(RuntimeError, match="stop"), last_layer_at(llm.model, torch.ones(1, 2, dtype=torch.bool)):
        raise RuntimeError("stop")
    assert "forward" not in llm.model.model.layers[-1].__dict__
