"""Limits, options and ends of generation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MaxLengthCriteria

from inlay.adapters.language.generation.generate import MAX_NEW_TOKENS, Generation
from inlay.adapters.language.model import LanguageModelError


def prompt(llm: Any, length: int = 4, rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(6, 300, (rows, length))
    return llm.embed(ids), torch.ones_like(ids)


def always(llm: Any, *tokens: int) -> None:
    """Let a model write these tokens in turn, then the last one for ever."""
    head, left = llm.model.get_output_embeddings(), list(tokens)

    def say(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
        token = left.pop(0) if len(left) > 1 else left[0]
        return torch.zeros_like(output).index_fill_(-1, torch.tensor(token), 1.0)

    head.register_forward_hook(say)


@pytest.mark.parametrize("family", ["llama", "qwen2", "t5"])
def test_a_turn_end_that_is_given_ends_a_row(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    end = llm.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert end not in llm.stop_ids
    always(llm, 40, 41, end)
    found = llm.generate(*prompt(llm), stop_ids=[end], do_sample=False)
    assert found == Generation([[40, 41, end]], ["stop"])


def test_eos_ends_a_row_beside_the_ids_that_are_given(llm_of: Any) -> None:
    llm = llm_of("llama")
    always(llm, 40, llm.tokenizer.eos_token_id)
    found = llm.generate(*prompt(llm), stop_ids=[77], do_sample=False)
    assert found == Generation([[40, llm.tokenizer.eos_token_id]], ["stop"])


def test_the_generation_config_s_ends_count_too(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.model.generation_config.eos_token_id = [55, 56]
    always(llm, 40, 56)
    assert llm.generate(*prompt(llm), do_sample=False).finish == ["stop"]


def test_a_row_that_reaches_the_limit_says_so(llm_of: Any) -> None:
    llm = llm_of("llama")
    always(llm, 40)
    assert llm.generate(*prompt(llm), max_new_tokens=3) == Generation([[40] * 3], ["length"])


def test_an_end_at_the_very_limit_is_an_end(llm_of: Any) -> None:
    llm = llm_of("llama")
    always(llm, 40, 41, llm.tokenizer.eos_token_id)
    assert llm.generate(*prompt(llm), max_new_tokens=3).finish == ["stop"]


def test_the_default_limit_is_512_tokens(llm_of: Any) -> None:
    llm = llm_of("llama", max_position_embeddings=1024)
    always(llm, 40)
    assert len(llm.generate(*prompt(llm)).rows[0]) == MAX_NEW_TOKENS == 512


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_an_answer_ends_with_the_context(llm_of: Any, family: str) -> None:
    llm = llm_of(family, max_position_embeddings=16)
    always(llm, 40)
    assert llm.generate(*prompt(llm, 10), max_new_tokens=50) == Generation([[40] * 6], ["length"])


@pytest.mark.parametrize("family", ["opt", "llama"])
def test_a_prompt_that_fills_the_context_is_refused(llm_of: Any, family: str) -> None:
    llm = llm_of(family, max_position_embeddings=16)
    with pytest.raises(LanguageModelError, match=r"prompt of 16 positions .* context of 16"):
        llm.generate(*prompt(llm, 16))


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, "9"])
def test_a_limit_that_is_no_number_of_tokens_is_refused(llm_of: Any, limit: Any) -> None:
    llm = llm_of("llama")
    with pytest.raises(LanguageModelError, match="max_new_tokens: expected a whole number from 1 on"):
        llm.generate(*prompt(llm), max_new_tokens=limit)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_length": 9}, "max_new_tokens"),
        ({"num_return_sequences": 2, "do_sample": False}, "num_return_sequences"),
        ({"num_beams": 0}, "failed with these embeddings and options"),
        ({"colour": "red"}, "colour"),
        ({"repetition_penalty": "much"}, "repetition_penalty: expected a positive number, got 'much'"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: expected a positive number, got 0.0"),
        ({"stopping_criteria": print}, "stopping_criteria: expected a list"),
        ({"logits_processor": 3}, "logits_processor: expected a list"),
        ({"return_dict_in_generate": True}, "token ids alone are returned"),
        ({"eos_token_id": 3}, "eos_token_id cannot be given"),
    ],
)
def test_options_that_transformers_refuses_are_an_error_of_ours(llm_of: Any, options: Any, told: str) -> None:
    llm = llm_of("llama")
    with pytest.raises(LanguageModelError, match=told):
        llm.generate(*prompt(llm), **options)


def test_several_answers_to_one_prompt(llm_of: Any) -> None:
    llm = llm_of("llama")
    embeddings, mask = prompt(llm, rows=2)
    many = llm.generate(embeddings, mask, num_beams=3, num_return_sequences=2, max_new_tokens=4, do_sample=False)
    best = llm.generate(embeddings, mask, num_beams=3, max_new_tokens=4, do_sample=False)
    assert (len(many.rows), len(many.finish)) == (4, 4)
    assert many.rows[::2] == best.rows
    assert many.rows[0] != many.rows[1]


def test_a_model_without_an_end_writes_to_the_limit(llm_of: Any) -> None:
    llm = llm_of("llama")
    llm.tokenizer.eos_token = None
    llm.model.generation_config.eos_token_id = None
    assert llm.stop_ids == []
    assert llm.generate(*prompt(llm), max_new_tokens=5, do_sample=False).finish == ["length"]


def test_criteria_of_the_caller_stand_beside_the_stop_texts(llm_of: Any) -> None:
    llm = llm_of("llama")
    always(llm, 40)
    found = llm.generate(*prompt(llm), stop=["###"], stopping_criteria=[MaxLengthCriteria(3)], max_new_tokens=9)
    assert found.rows == [[40] * 3]


def test_a_row_behind_its_stop_text_has_no_padding(llm_of: Any) -> None:
    """The batch goes on for the second row; where the pad token is an ordinary one it would be part of the answer."""
    llm = llm_of("llama")
    llm.tokenizer.pad_token = None
    llm.tokenizer.eos_token = None
    llm.model.generation_config.eos_token_id = None
    mark = llm.tokenizer("#", add_special_tokens=False).input_ids[0]
    head, step = llm.model.get_output_embeddings(), iter(range(9))

    def say(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros_like(output)
        scores[0, :, mark if next(step) >= 1 else 40], scores[1, :, 41] = 1.0, 1.0
        return scores

    head.register_forward_hook(say)
    found = llm.generate(*prompt(llm, rows=2), stop=["##"], max_new_tokens=6, do_sample=False)
    assert found == Generation([[40, mark, mark], [41] * 6], ["stop", "length"])
