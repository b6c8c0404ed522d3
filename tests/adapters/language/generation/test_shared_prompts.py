"""Answers that read one copy of their prompt's keys and values, compared with whole rows in transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from inlay.adapters.language.generation.prefilled import _Reader
from inlay.adapters.language.generation.shared_prompts import SharedPrompts
from inlay.adapters.language.packing.packed_attention import use_attention
from inlay.adapters.language.wiring.protocol import LanguageModelError

LENGTHS = (7, 4, 6)
COUNT, STEPS = 3, 5


@pytest.fixture(params=[4, 2, 1], ids=["heads", "groups", "one"])
def model(request: pytest.FixtureRequest) -> Any:
    """A LLaMA with as many heads of keys as of queries, half as many, or one."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=request.param, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def whole(model: Any, prompt: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Scores ``[STEPS + 1, vocabulary]`` of a row without padding and without a cache."""
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.cat([prompt, answer])[None]).logits[0, len(prompt) - 1 :]
    return found


@torch.no_grad()
def test_scores_are_those_of_whole_rows_while_answers_and_prompts_leave(model: Any) -> None:
    longest = max(LENGTHS)
    mask = (torch.arange(longest) >= longest - torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(0, 50, (len(LENGTHS), longest), generator=torch.Generator().manual_seed(1))
    answers = torch.randint(0, 50, (len(LENGTHS) * COUNT, STEPS), generator=torch.Generator().manual_seed(2))
    wanted = [whole(model, ids[row // COUNT][mask[row // COUNT].bool()], answers[row]) for row in range(len(answers))]
    reader = _Reader(model, model.get_input_embeddings()(ids), mask, COUNT, "shared")
    live = torch.arange(len(answers))
    # The second step begins without two answers, the third without the whole second prompt, and so on.
    leaves = {1: [0, 4], 2: [3, 5], 3: [8], 4: [1, 2]}
    for step in range(STEPS):
        torch.testing.assert_close(reader.logits, torch.stack([wanted[row][step] for row in live]))
        if gone := leaves.get(step):
            kept = torch.tensor([row not in gone for row in live.tolist()]).nonzero()[:, 0]
            live = live[kept]
            reader.keep(kept)
        reader.read(answers[live, step])
    assert live.tolist() == [6, 7]
    assert reader.prompts is not None
    assert [len(keys) for keys in reader.prompts.keys] == [1, 1]


@torch.no_grad()
def test_one_answer_to_each_prompt(model: Any) -> None:
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    prompts, answers = ids[:, :6], ids[:, 6:]
    reader = _Reader(model, model.get_input_embeddings()(prompts), torch.ones_like(prompts), 1, "shared")
    for step in range(3):
        reader.read(answers[:, step])
        wanted = [whole(model, *pair)[step + 1] for pair in zip(prompts, answers, strict=True)]
        torch.testing.assert_close(reader.logits, torch.stack(wanted))


@torch.no_grad()
def test_the_cache_holds_the_prompt_once(model: Any) -> None:
    mask = torch.ones(2, 6, dtype=torch.long)
    reader = _Reader(model, torch.randn(2, 6, 32), mask, 8, "shared")
    reader.read(torch.arange(16))
    layers: list[Any] = reader.cache.layers
    assert [tuple(layer.keys.shape[::2]) for layer in layers] == [(16, 1), (16, 1)]
    assert reader.prompts is not None
    assert [tuple(keys.shape[::2]) for keys in reader.prompts.keys] == [(2, 6), (2, 6)]


def test_an_argument_that_changes_attention_is_refused(model: Any) -> None:
    cache = DynamicCache(config=model.config)
    ids = torch.arange(4)[None]
    with torch.no_grad():
        model(input_ids=ids, past_key_values=cache)
        shared = SharedPrompts.of(cache, torch.ones_like(ids), 1)
        given: dict[str, Any] = {"input_ids": ids[:, :1], "past_key_values": cache, "shared": shared}
        with (
            pytest.raises(LanguageModelError, match="no argument softcap"),
            use_attention(model, "inlay_shared_prompts"),
        ):
            model(**given, position_ids=torch.tensor([[4]]), softcap=30.0)


def test_layers_with_a_window_are_refused() -> None:
    windows: dict[str, Any] = {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4}
    config = LlamaConfig(num_hidden_layers=2, **windows)
    with pytest.raises(LanguageModelError, match="DynamicSlidingWindowLayer"):
        SharedPrompts.of(DynamicCache(config=config), torch.ones(1, 4, dtype=torch.long), 2)
