"""A prompt is read once for all its answers, if the model gives equal scores in that way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_languages import DECODERS, make_language
from transformers import DynamicCache

from inlay.adapters.language.generation import prefilled
from inlay.adapters.language.generation.policy import PolicyProcessor, SamplingPolicy, Streams
from inlay.adapters.language.generation.prefilled import Prefill, draw_prefilled, prefill_way
from inlay.adapters.language.generation.shared_prompts import SharedPrompts
from inlay.adapters.language.model import LanguageModel


def prompts(llm: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Two prompts of different lengths, padded on the left."""
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    ids = torch.tensor([[2, 2, 60, 61, 62], [70, 71, 72, 73, 74]])
    return llm.embed(ids), mask


WAYS = pytest.mark.parametrize("way", ["shared", "repeated"])


def never(_: list[int]) -> bool:
    return False


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "opt"])
def test_decoders_are_prefilled(llm_of: Any, family: str) -> None:
    llm = llm_of(family)
    assert prefill_way(llm.model, llm.wiring, torch.float32) == "shared"


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("bloom", {}),
        ("gpt2", {}),
        ("falcon", {}),
        ("gemma2", {"sliding_window": 4}),
        ("mistral", {"sliding_window": 4}),
    ],
)
def test_other_families_give_the_tokens_of_generate(tokenizer_of: Any, kind: str, sizes: dict[str, int]) -> None:
    tokenizer = tokenizer_of()
    model_class, config_class, own = DECODERS[kind]
    llm = LanguageModel(make_language((model_class, config_class, own | sizes), len(tokenizer)), tokenizer)
    embeddings, mask = prompts(llm)
    way = prefill_way(llm.model, llm.wiring, torch.float32)
    assert way is not None
    found = draw_prefilled(
        llm.model, embeddings, mask, SamplingPolicy(), Streams(0, [0, 1], 3, 5), count=3, limit=5, ends=never, way=way
    )
    plain = PolicyProcessor(SamplingPolicy(), Streams(0, [0, 1], 3, 5))
    written = llm.generate(
        embeddings,
        mask,
        max_new_tokens=5,
        do_sample=True,
        top_k=0,
        num_return_sequences=3,
        logits_processor=[plain],
    )
    values = torch.stack(plain.steps, dim=1)
    for ids, log_probs, row, wanted in zip(found.rows, found.log_probs, written.rows, values, strict=True):
        assert ids[: len(row)] == row
        torch.testing.assert_close(log_probs[: len(row)], wanted[: len(row)], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mamba", "qwen3_next", "falcon_h1"])
def test_a_model_with_recurrent_states_is_not(tokenizer_of: Any, kind: str) -> None:
    tokenizer = tokenizer_of()
    llm = LanguageModel(make_language(DECODERS[kind], len(tokenizer)), tokenizer)
    assert not prefill_way(llm.model, llm.wiring, torch.float32)


def test_an_encoder_decoder_is_not(llm_of: Any) -> None:
    llm = llm_of("t5")
    assert not prefill_way(llm.model, llm.wiring, torch.float32)


def test_a_model_that_loses_its_cache_is_not(llm_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = llm_of("llama")
    monkeypatch.setattr(SharedPrompts, "by_answer", lambda self, grid: grid.flip(0).flatten(0, 1)[: len(self.place)])
    monkeypatch.setattr(
        prefilled, "repeat_cache", lambda cache, _: cache.batch_select_indices(torch.tensor([0, 0, 0, 1]))
    )
    assert not prefill_way(llm.model, llm.wiring, torch.float32)


def test_a_model_without_a_cache_is_not(llm_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = llm_of("llama")
    forward = llm.model.forward
    monkeypatch.setattr(llm.model, "forward", lambda **given: forward(**given | {"past_key_values": None}))
    assert not prefill_way(llm.model, llm.wiring, torch.float32)


def test_the_probe_runs_once(llm_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = llm_of("llama")
    prefill_way(llm.model, llm.wiring, torch.float32)
    monkeypatch.setattr(prefilled, "_equal", lambda *_: pytest.fail("a second probe"))
    assert prefill_way(llm.model, llm.wiring, torch.float32)


@WAYS
def test_prompts_are_read_once_and_steps_read_one_position(llm_of: Any, way: Prefill) -> None:
    llm = llm_of("llama")
    embeddings, mask = prompts(llm)
    shapes: list[tuple[int, int]] = []
    llm.model.register_forward_pre_hook(
        lambda _, args, given: shapes.append(tuple(given["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    draw_prefilled(
        llm.model, embeddings, mask, SamplingPolicy(), Streams(0, [0, 1], 3, 4), count=3, limit=4, ends=never, way=way
    )
    assert shapes == [(2, 5), (6, 1), (6, 1), (6, 1)]


@WAYS
def test_answers_that_have_ended_leave_the_batch(llm_of: Any, way: Prefill) -> None:
    llm = llm_of("llama")
    embeddings, mask = prompts(llm)

    def draw(ends: Any) -> list[list[int]]:
        streams = Streams(0, [0, 1], 4, 6)
        return draw_prefilled(
            llm.model, embeddings, mask, SamplingPolicy(), streams, count=4, limit=6, ends=ends, way=way
        ).rows

    whole = draw(never)
    ending = {row[0] for row in whole[:5]} - {row[0] for row in whole[5:]}
    rows: list[int] = []
    llm.model.register_forward_pre_hook(
        lambda _, args, given: rows.append(len(given["inputs_embeds"])), with_kwargs=True
    )
    short = draw(lambda ids: ids[0] in ending)
    left = sum(row[0] not in ending for row in whole)
    assert rows == [2, *[left] * 5]
    assert 0 < left <= 5
    assert short == [row[:1] if row[0] in ending else row for row in whole]


@WAYS
def test_memory_of_the_cache_is_that_of_the_answers(llm_of: Any, monkeypatch: pytest.MonkeyPatch, way: Prefill) -> None:
    """The prompt's cache is one row a prompt, and no embeddings of a prompt are repeated."""
    llm = llm_of("llama")
    embeddings, mask = prompts(llm)
    seen: list[int] = []
    update = DynamicCache.update
    monkeypatch.setattr(
        DynamicCache, "update", lambda self, keys, *more: seen.append(keys.numel()) or update(self, keys, *more)
    )
    options: dict[str, Any] = {"count": 8, "limit": 2, "ends": never, "way": way}
    draw_prefilled(llm.model, embeddings, mask, SamplingPolicy(), Streams(0, [0, 1], 8, 2), **options)
    own = max(seen)
    seen.clear()
    repeated = embeddings.repeat_interleave(8, dim=0), mask.repeat_interleave(8, dim=0)
    llm.model.generate(inputs_embeds=repeated[0], attention_mask=repeated[1], max_new_tokens=2)
    assert own * 3 < max(seen)
