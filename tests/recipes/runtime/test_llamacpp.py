"""Answers of a language model in llama.cpp, beside torch with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'inlay[llamacpp]'")

from inlay.adapters.language.model import LanguageModelError
from inlay.adapters.language.occupancy import AttachError
from inlay.recipes.runtime.backbone import runtime_model
from inlay.recipes.runtime.options import RuntimeOptions
from inlay.recipes.systems.load_backbone import miniature_backbone

LONG = {"min_new_tokens": 16, "max_new_tokens": 24}
"""The embedded model writes one word otherwise."""


@pytest.fixture(scope="module")
def model(bundle: Path, bases: Callable[[str], Path]) -> Iterator[Any]:
    with runtime_model(bundle, RuntimeOptions("llamacpp", gguf=bases("f32"))) as model:
        yield model


def facts(replies: Any) -> list[tuple[str, int, str]]:
    return [(reply.text, reply.tokens, reply.finish_reason) for reply in replies]


def test_greedy_answers_of_a_batch_equal_torch(model: Any, torch_model: Any, conversations: Any) -> None:
    expected = facts(torch_model.replies(conversations, **LONG))
    assert facts(model.replies(conversations, **LONG)) == expected
    assert [facts(model.replies([one], **LONG))[0] for one in conversations] == expected
    assert facts(model.replies(conversations)) == facts(torch_model.replies(conversations))


def test_sampled_answers_equal_torch(model: Any, torch_model: Any, conversations: Any) -> None:
    options = {"do_sample": True, "temperature": 1.5, "top_p": 0.95, "repetition_penalty": 1.2, **LONG}
    found = []
    for one in (model, torch_model):
        torch.manual_seed(3)
        found.append(one.answer(conversations, num_return_sequences=2, **options))
    assert found[0] == found[1]
    assert len(set(found[0])) == 6


def test_logits_equal_torch(model: Any, torch_model: Any, conversations: Any) -> None:
    for conversation in conversations:
        found, expected = model.probe(conversation), torch_model.probe(conversation)
        assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_words_stream_as_they_come(model: Any, torch_model: Any, conversations: Any) -> None:
    heard: list[list[str]] = []
    for one in (model, torch_model):
        pieces: list[str] = []
        one.chat(conversations[1], on_text=pieces.append, **LONG)
        heard.append(pieces)
    assert heard[0] == heard[1]
    assert len(heard[0]) > 1


def test_the_lora_is_used_while_the_adapter_is_attached(
    bundle: Path, bases: Callable[[str], Path], torch_model: Any, conversations: Any
) -> None:
    plain = miniature_backbone().llm
    batch = torch_model.batch([conversations[0]], generation=True)
    embeddings, mask = torch_model.embeddings(batch).detach(), batch.mask
    expected = plain.logits(embeddings, mask)[0, -1]
    with torch.no_grad():
        assert float((torch_model.backbone.llm.logits(embeddings, mask)[0, -1] - expected).abs().max()) > 1
    with runtime_model(bundle, RuntimeOptions("llamacpp", gguf=bases("f32"))) as model:
        llm = model.backbone.llm
        model.adapter.detach()
        assert float((llm.logits(embeddings, mask)[0, -1] - expected).abs().max()) < 1e-3
        with pytest.raises(AttachError):
            model.chat(conversations[0])


def test_torch_holds_no_weights_but_the_embeddings(model: Any) -> None:
    assert [tuple(p.shape) for p in model.backbone.llm.parameters()] == [(787, 128)]


def test_a_stop_text_ends_an_answer(model: Any, torch_model: Any, conversations: Any) -> None:
    whole = torch_model.chat(conversations[1], **LONG).text
    stop = whole[len(whole) // 2 :][:3]
    ids = [one.backbone.llm for one in (model, torch_model)]
    batch = torch_model.batch([conversations[1]], generation=True)
    embeddings = torch_model.embeddings(batch)
    found = [llm.generate(embeddings, batch.mask, stop=[stop], **LONG) for llm in ids]
    assert found[0] == found[1]
    assert found[0].finish == ["stop"]


def test_an_answer_ends_with_the_context(model: Any) -> None:
    llm = model.backbone.llm
    embeddings = llm.embed(torch.arange(5, 505)[None])
    written = llm.generate(embeddings, torch.ones(1, 500, dtype=torch.long), max_new_tokens=64, min_new_tokens=12)
    assert len(written.rows[0]) == 12
    with pytest.raises(LanguageModelError, match="leaves no room"):
        llm.generate(embeddings.repeat(1, 2, 1), torch.ones(1, 1000, dtype=torch.long))


def test_what_needs_other_scores_is_refused(model: Any, conversations: Any) -> None:
    with pytest.raises(LanguageModelError, match="num_beams: expected 1, got 2"):
        model.answer(conversations[:1], num_beams=2)
    with pytest.raises(LanguageModelError, match="use --runtime torch"):
        model.backbone.llm.logits(torch.zeros(1, 2, 128), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(LanguageModelError, match="hidden states"):
        model.backbone.llm.states(torch.zeros(1, 1, 128), torch.ones(1, 1))


@pytest.mark.parametrize(("kind", "equal"), [("f16", 3), ("q8_0", 2)])
def test_a_base_of_fewer_bits_answers_alike(
    bundle: Path, bases: Callable[[str], Path], torch_model: Any, conversations: Any, kind: str, equal: int
) -> None:
    expected = [reply.text.split()[:2] for reply in torch_model.replies(conversations, max_new_tokens=6)]
    with runtime_model(bundle, RuntimeOptions("llamacpp", gguf=bases(kind))) as model:
        found = [reply.text.split()[:2] for reply in model.replies(conversations, max_new_tokens=6)]
    assert sum(one == other for one, other in zip(found, expected, strict=True)) >= equal
