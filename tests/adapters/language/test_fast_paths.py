"""The tests of fast paths on the model at hand: what they refuse, and what they leave untouched."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from inlay.adapters.language.fast_paths import FastPaths, probe
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.packing.loss_plan import LossPlan


def paths(llm: Any) -> FastPaths:
    return probe(llm.model, llm.wiring, torch.float32, llm.pad_id)


def test_a_plain_model_takes_both(llm_of: Any) -> None:
    assert paths(llm_of("llama")) == FastPaths(head=True, packs=True)
    assert paths(llm_of("t5")) == FastPaths(head=True, packs=False)


def test_a_layer_that_mixes_neighbours_is_not_packed(llm_of: Any) -> None:
    llm = llm_of("llama")

    def mix(module: Any, given: Any, output: Tensor) -> Tensor:
        return output + output.roll(1, dims=1) * 0.5

    llm.model.model.layers[0].mlp.register_forward_hook(mix)
    assert not paths(llm).packs


def test_attention_of_another_kind_is_not_packed(llm_of: Any) -> None:
    llm = llm_of("llama")
    attention = llm.model.model.layers[1].self_attn
    attention.config = copy.deepcopy(attention.config)  # its attention is not chosen by the model's config
    assert not paths(llm).packs


def test_an_argument_that_packed_attention_would_ignore_is_seen(llm_of: Any) -> None:
    llm = llm_of("llama")
    attention = llm.model.model.layers[1].self_attn
    own = attention.forward
    attention.forward = lambda **given: own(**given, softcap=50.0)
    assert not paths(llm).packs


@pytest.mark.parametrize("family", ["Mistral", "Phi3", "Qwen2", "Starcoder2"])
def test_a_window_that_is_longer_than_the_test_is_seen(tokenizer_of: Any, family: str) -> None:
    sizes = {"vocab_size": 378, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "pad_token_id": 2}
    window = {"sliding_window": 64, "use_sliding_window": True, "max_window_layers": 0, "num_attention_heads": 4}
    config = getattr(transformers, f"{family}Config")(**sizes, **window, num_key_value_heads=2)
    llm = LanguageModel(getattr(transformers, f"{family}ForCausalLM")(config), tokenizer_of())
    assert paths(llm) == FastPaths(head=True, packs=False)


def test_a_model_that_fails_takes_the_plain_path(llm_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = llm_of("llama")
    monkeypatch.setattr("inlay.adapters.language.packing.packed_attention._repeated", lambda *_: 1 / 0)
    assert paths(llm) == FastPaths(head=True, packs=False)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    plan = LossPlan.of(torch.tensor([[0, 0, 0, 1], [1, 0, 0, 0]]).bool(), torch.tensor([7, 8]), mask)
    assert llm.loss(torch.randn(2, 4, 32), mask, plan).isfinite()


def test_dropout_is_off_meanwhile_and_on_again(llm_of: Any) -> None:
    llm = llm_of("llama")
    dropout = nn.Dropout(0.5)
    llm.model.model.layers[0].mlp = nn.Sequential(llm.model.model.layers[0].mlp, dropout)
    dropout.train()
    state = torch.get_rng_state()
    assert paths(llm) == FastPaths(head=True, packs=True)
    assert dropout.training
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_is_tested_once_for_each_kind_of_attention(llm_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = llm_of("llama")
    tested: list[Any] = []
    monkeypatch.setattr("inlay.adapters.language.model.probe", lambda *given: tested.append(given) or paths(llm))
    embeddings, mask = torch.randn(1, 4, 32), torch.ones(1, 4, dtype=torch.long)
    plan = LossPlan.of(torch.tensor([[False, False, True, False]]), torch.tensor([7]), mask)
    first = llm.loss(embeddings, mask, plan)
    llm.loss(embeddings, mask, plan)
    llm.model.config._attn_implementation = "eager"
    torch.testing.assert_close(llm.loss(embeddings, mask, plan), first)
    assert len(tested) == 2
