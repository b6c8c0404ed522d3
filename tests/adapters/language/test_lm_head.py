"""When a head is a frozen matrix, and what it reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from inlay.adapters.language.lm_head import frozen_head, head_input, returns_head_scores
from inlay.adapters.llm_parts.token_rows import TokenRows, TokensConfig


def test_a_plain_head_is_its_matrix(llm_of: Any) -> None:
    model = llm_of("llama").model
    head = frozen_head(model)
    assert head is not None
    assert head.weight is model.lm_head.weight
    assert head.width == model.config.vocab_size


def test_token_rows_belong_to_the_head_while_they_are_attached(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = TokenRows.for_language(llm, TokensConfig.numbered(32, image=2))
    attached = rows.attach(llm)
    head = frozen_head(llm.model)
    assert head is not None
    assert head.places is not None
    assert head.rows is rows.output
    assert head.places.tolist() == list(attached.ids)
    attached.undo.close()
    again = frozen_head(llm.model)
    assert again is not None
    assert again.rows is None


@pytest.mark.parametrize("why", ["hook", "other call", "trains", "no linear", "call below the rows"])
def test_what_is_more_than_a_frozen_matrix_stays_a_call(llm_of: Any, why: str) -> None:
    llm = llm_of("llama")
    head = llm.model.lm_head
    if why == "hook":
        head.register_forward_hook(lambda *_: None)
    elif why == "other call":
        head.forward = lambda hidden: hidden
    elif why == "trains":
        head.weight.requires_grad_(True)
    elif why == "no linear":
        llm.model.lm_head = nn.Sequential(head)
    else:
        own = head.forward
        head.forward = lambda hidden: own(hidden) / 2
        TokenRows.for_language(llm, TokensConfig.numbered(32, image=2)).attach(llm)
    assert frozen_head(llm.model) is None


@pytest.mark.parametrize("family", ["llama", "opt", "t5"])
def test_the_head_s_input_is_collected_and_its_matrix_not_used(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    embeddings, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.long)
    with torch.no_grad():
        with head_input(llm.model) as seen:
            empty = llm.logits(embeddings, mask)
        assert empty.shape[1] == 0
        torch.testing.assert_close(llm.model.lm_head(seen[0]), llm.logits(embeddings, mask))
    assert not llm.model.lm_head._forward_pre_hooks


def test_the_head_reads_its_input_again_after_an_error(llm_of: Any) -> None:
    model = llm_of("llama").model
    with pytest.raises(RuntimeError, match="stop"), head_input(model):
        raise RuntimeError("stop")
    assert not model.lm_head._forward_pre_hooks


def test_another_thread_uses_the_head_as_it_is(llm_of: Any) -> None:
    llm = llm_of("llama")
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    with head_input(llm.model) as seen, ThreadPoolExecutor(1) as other:
        assert other.submit(llm.logits, embeddings, mask).result().shape[1] == 5
        assert not seen


def cap(logits: torch.Tensor) -> torch.Tensor:
    return torch.tanh(logits / 50) * 50


def overwrite(logits: torch.Tensor) -> torch.Tensor:
    logits[..., 7] = -1e4
    return logits


CHANGES = {"nothing": torch.nn.Identity(), "scale": lambda x: x * 0.999, "cap": cap, "bias": lambda x: x + 1e-6}


@pytest.mark.parametrize("change", [*CHANGES, "overwrite"])
def test_whatever_a_model_does_with_the_scores_of_its_head_is_seen(llm_of: Any, change: str) -> None:
    llm = llm_of("llama")
    head = frozen_head(llm.model)
    assert head is not None
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    after = overwrite if change == "overwrite" else CHANGES[change]
    same = returns_head_scores(llm.model, head, lambda: after(llm.logits(embeddings, mask)))
    assert same is (change == "nothing")


def test_trained_rows_are_scores_of_the_head_too(llm_of: Any) -> None:
    llm = llm_of("llama")
    TokenRows.for_language(llm, TokensConfig.numbered(32, image=2)).attach(llm)
    head = frozen_head(llm.model)
    assert head is not None
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    assert returns_head_scores(llm.model, head, lambda: llm.logits(embeddings, mask))
