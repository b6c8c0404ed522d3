"""Models that hand embeddings on without naming them generate from them, also as copies."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny_languages import DECODERS, make_language

from inlay.adapters.language.model import LanguageModel
from inlay.adapters.language.wiring.embeddings_check import check_embeddings
from inlay.adapters.language.wiring.protocol import LanguageModelError


@pytest.mark.parametrize("family", ["falcon_h1", "bamba"])
def test_a_copy_prepares_its_own_inputs(tokenizer_of: Any, family: str) -> None:
    tokenizer = tokenizer_of()
    llm = LanguageModel(make_language(DECODERS[family], len(tokenizer)), tokenizer)
    other = copy.deepcopy(llm)
    assert other.model.prepare_inputs_for_generation.model is other.model
    ids = torch.tensor([[11, 12, 13]])
    options: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False}
    found = [one.generate(one.embed(ids), torch.ones_like(ids), **options).rows for one in (llm, other)]
    assert found[0] == found[1]


def test_a_model_that_names_the_argument_is_left_as_it_is(llm_of: Any) -> None:
    assert "prepare_inputs_for_generation" not in llm_of("llama").model.__dict__


def test_scores_that_differ_from_those_of_the_ids_are_refused(llm_of: Any) -> None:
    model = llm_of("llama").model
    check_embeddings(model)
    own = model.forward

    def forward(input_ids: Any = None, **more: Any) -> Any:
        """Looks up more with the ids than the input embeddings."""
        output = own(input_ids=input_ids, **more)
        if input_ids is not None:
            output.logits = output.logits + input_ids[..., None] * 0.1
        return output

    model.forward = forward
    with pytest.raises(LanguageModelError, match="other logits from embeddings than from the ids of the same tokens"):
        check_embeddings(model)


def test_a_model_on_the_meta_device_is_not_run(llm_of: Any) -> None:
    check_embeddings(llm_of("llama").model.to("meta"))
