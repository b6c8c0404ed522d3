"""When a head is a frozen matrix, and what it reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from inlay.adapters.language.lm_head import frozen_head, handed_through
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
    attached.undo()
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


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_the_model_gives_back_what_the_head_reads(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    embeddings, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.long)
    with torch.no_grad():
        with handed_through(llm.model) as seen:
            given = llm.model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).logits
        assert given is seen[0]
        torch.testing.assert_close(llm.model.lm_head(given), llm.logits(embeddings, mask))
    assert "forward" not in llm.model.lm_head.__dict__


def test_the_call_from_before_is_put_back_after_an_error(llm_of: Any) -> None:
    model = llm_of("llama").model
    before = model.lm_head.forward = lambda hidden: hidden
    with pytest.raises(RuntimeError, match="stop"), handed_through(model):
        raise RuntimeError("stop")
    assert model.lm_head.__dict__["forward"] is before
