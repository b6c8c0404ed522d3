"""Answers of a bare language model behind vLLM's wire format, beside torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from vllm_stand_in import StandIn, served

from inlay.adapters.language.model import LanguageModelError
from inlay.recipes.runtime.backbone import runtime_model
from inlay.recipes.runtime.options import RuntimeOptions
from inlay.recipes.runtime.vllm import served_names
from inlay.recipes.runtime.vllm_client import Served, ServerError
from inlay.recipes.systems.load_backbone import miniature_backbone


@pytest.fixture
def stand_in(torch_model: Any) -> StandIn:
    return StandIn({"llama": miniature_backbone().llm, "tried": torch_model.backbone.llm})


@pytest.fixture
def model(bundle: Path, stand_in: StandIn) -> Iterator[Any]:
    with served(stand_in) as url, runtime_model(bundle, RuntimeOptions("vllm", url=url)) as model:
        yield model


def test_answers_equal_torch(model: Any, torch_model: Any, conversations: Any, stand_in: StandIn) -> None:
    found = model.replies(conversations, max_new_tokens=12)
    expected = torch_model.replies(conversations, max_new_tokens=12)
    assert [(reply.text, reply.tokens, reply.finish_reason) for reply in found] == [
        (reply.text, reply.tokens, reply.finish_reason) for reply in expected
    ]
    assert {body["model"] for body in stand_in.asked} == {"tried"}


def test_the_prompt_travels_without_padding_and_bit_for_bit(
    model: Any, torch_model: Any, conversations: Any, stand_in: StandIn
) -> None:
    model.replies(conversations, max_new_tokens=1)
    for sent, conversation in zip(stand_in.prompts, conversations, strict=True):
        batch = torch_model.batch([conversation], generation=True)
        assert torch.equal(sent, torch_model.embeddings(batch)[0])


def test_the_lora_is_left_to_the_server(model: Any) -> None:
    assert model.adapter.lora is None
    assert sum(p.numel() for p in model.backbone.llm.parameters()) == 787 * 128  # the token embeddings alone


def test_without_an_adapter_the_base_model_is_asked(model: Any, stand_in: StandIn) -> None:
    llm = model.backbone.llm
    embeddings = llm.embed(torch.arange(5, 12)[None])
    model.adapter.detach()
    written = llm.generate(embeddings, torch.ones(1, 7, dtype=torch.long), max_new_tokens=3)
    assert stand_in.asked[-1]["model"] == "llama"
    expected = stand_in.models["llama"].generate(embeddings, torch.ones(1, 7, dtype=torch.long), max_new_tokens=3)
    assert written.rows == expected.rows


def test_words_stream_as_they_come(model: Any, torch_model: Any, conversations: Any, stand_in: StandIn) -> None:
    pieces: list[str] = []
    reply = model.chat(conversations[0], on_text=pieces.append, max_new_tokens=12)
    assert stand_in.asked[-1]["stream"] is True
    assert "".join(pieces).strip() == reply.text == torch_model.chat(conversations[0], max_new_tokens=12).text


def test_a_greedy_request_does_not_follow_the_generation_config(
    model: Any, conversations: Any, stand_in: StandIn
) -> None:
    model.backbone.llm.model.generation_config.temperature = 0.7
    model.chat(conversations[0], max_new_tokens=2)
    asked = stand_in.asked[-1]
    assert {name: asked[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")} == {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }


def test_sampling_follows_the_seed_of_torch(model: Any, conversations: Any, stand_in: StandIn) -> None:
    texts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        texts.append(model.chat(conversations[0], do_sample=True, temperature=2.0, max_new_tokens=12).text)
    assert texts[0] == texts[1] != texts[2]
    assert stand_in.asked[-1]["temperature"] == 2.0


def test_several_answers_to_one_question(model: Any, conversations: Any) -> None:
    found = model.answer(conversations[:1], do_sample=True, temperature=2.0, num_return_sequences=3, max_new_tokens=8)
    assert len(found) == 3


def test_options_that_vllm_does_not_have_are_refused(model: Any, conversations: Any) -> None:
    with pytest.raises(LanguageModelError, match="no_repeat_ngram_size"):
        model.chat(conversations[0], no_repeat_ngram_size=2)
    with pytest.raises(LanguageModelError, match="num_beams: expected 1, got 3"):
        model.answer(conversations[:1], num_beams=3)
    with pytest.raises(LanguageModelError, match="use --runtime torch"):
        model.probe(conversations[0])


def test_a_server_without_the_flag(bundle: Path, stand_in: StandIn, conversations: Any) -> None:
    stand_in.flag = False
    with (
        served(stand_in) as url,
        runtime_model(bundle, RuntimeOptions("vllm", url=url)) as model,
        pytest.raises(ServerError, match=r"start the server with --enable-prompt-embeds"),
    ):
        model.chat(conversations[0])


def test_a_server_with_another_width(bundle: Path, stand_in: StandIn, conversations: Any) -> None:
    stand_in.width = 64
    with (
        served(stand_in) as url,
        runtime_model(bundle, RuntimeOptions("vllm", url=url)) as model,
        pytest.raises(ServerError, match=r"hidden size 128, expected 64.*has to run the language model"),
    ):
        model.chat(conversations[0])


def test_a_server_without_token_ids(bundle: Path, stand_in: StandIn, conversations: Any) -> None:
    stand_in.token_ids = False
    with (
        served(stand_in) as url,
        runtime_model(bundle, RuntimeOptions("vllm", url=url)) as model,
        pytest.raises(ServerError, match=r"return_token_ids.*vLLM 0.10.2"),
    ):
        model.chat(conversations[0])


BASE, ONE, TWO = Served("llama"), Served("one", "llama"), Served("two", "llama")


def test_the_only_lora_is_found() -> None:
    assert served_names([BASE, ONE], None, has_lora=True) == ("one", "llama")
    assert served_names([BASE, ONE], None, has_lora=False) == ("llama", "llama")
    assert served_names([BASE, ONE, TWO], "two", has_lora=True) == ("two", "llama")


@pytest.mark.parametrize(
    ("models", "wanted", "has_lora", "said"),
    [
        ([BASE, ONE, TWO], None, True, "expected the name of one of the server's models: llama, one \\(LoRA\\)"),
        ([BASE], None, True, "the server has none \\(it has: llama\\); start it with --enable-lora"),
        ([BASE, ONE], "three", True, "expected one of the server's models .*got 'three'"),
        ([BASE, ONE], "llama", True, "'llama' is the language model without a LoRA"),
        ([], None, False, "models: none"),
    ],
)
def test_no_name_is_guessed(models: list[Served], wanted: str | None, has_lora: bool, said: str) -> None:
    with pytest.raises(ServerError, match=said):
        served_names(models, wanted, has_lora)
