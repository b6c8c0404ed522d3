"""The language model as a port: ids that its table has, and lengths that its context has."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.language.model import LanguageModel, LanguageModelError


def test_a_pad_token_without_a_row_is_not_used(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.tokenizer.add_special_tokens({"pad_token": "<padding>"})
    assert llm.tokenizer.pad_token_id >= len(llm.model.get_input_embeddings().weight)
    assert llm.pad_id == llm.tokenizer.eos_token_id
    llm.embed(torch.tensor([llm.pad_id]))
    llm.tokenizer.eos_token = None
    assert llm.pad_id == 0


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("what", ["logits", "states", "loss"])
def test_more_positions_than_the_context_are_refused_in_words(llm_of: Any, family: str, what: str) -> None:
    llm = llm_of(family, max_position_embeddings=8)
    embeddings, mask = torch.randn(2, 12, 32), torch.ones(2, 12, dtype=torch.long)
    labels = torch.full((2, 12), 7)
    mask[0, 3:] = 0

    def call() -> Any:
        if what == "loss":
            return llm.loss(embeddings, mask, llm.plan(labels, mask))
        return getattr(llm, what)(embeddings, mask)

    with pytest.raises(LanguageModelError, match="12 positions is longer than the context of 8"):
        call()
    mask[1, :4] = 0
    call()  # padding is no position


@pytest.mark.parametrize("family", ["llama", "opt", "t5"])
def test_labelled_rows_alone_have_the_scores_of_all(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    embeddings, mask = torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.long)
    target = torch.randint(5, 40, (2, 5)) if family == "t5" else None
    rows = torch.rand(2, 5) < 0.5
    rows[0, 0] = True
    every = llm.logits(embeddings, mask, target=target)
    torch.testing.assert_close(llm.logits(embeddings, mask, rows, target), every[rows])


def test_hooks_on_the_head_see_rows_and_change_scores(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.model.lm_head.register_forward_hook(lambda _, __, scores: scores / 2)
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    labels = torch.randint(5, 40, (1, 5))
    wanted = llm.model(inputs_embeds=embeddings, labels=labels).loss
    torch.testing.assert_close(llm.loss(embeddings, mask, llm.plan(labels, mask)), wanted)


def test_a_model_in_the_wrapper_of_another_library_is_refused(llm_of: Any) -> None:
    llm = llm_of("llama")
    with pytest.raises(LanguageModelError, match="got DataParallel: give the model itself"):
        LanguageModel(torch.nn.DataParallel(llm.model), llm.tokenizer)
