"""Batches of an evaluation: planned from the memory, halved where it runs out, shared among processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, OPTConfig, T5Config
from two_processes import in_two

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.evaluation import batches
from inlay.recipes.evaluation.answering import answer_all, ask, asked_of
from inlay.recipes.evaluation.batches import bytes_per_question, in_batches, planned_size
from inlay.recipes.evaluation.errors import EvaluationError
from inlay.recipes.settings.errors import RecipeError

GIB = 1 << 30


@pytest.fixture
def samples(image_of: Any, tmp_path: Path) -> list[Sample]:
    rows = []
    for index in range(7):
        path = tmp_path / f"{index}.png"
        image_of(index).save(path)
        words = "what colour is circle" + " and circle" * index
        user = Message("user", (MediaPart("image", path), TextPart(f"{words} {index}?")))
        rows.append(Sample(f"s{index}", (user, Message("assistant", (TextPart("red"),))), "rows"))
    return rows


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    torch.manual_seed(3)
    backbone = backbone_of()
    return adapter_of(backbone).attach(backbone)


def test_a_seven_billion_llama_takes_twenty_gib_for_sixty_four_questions() -> None:
    assert 20 * GIB < 64 * bytes_per_question(LlamaConfig(), 624, 16) < 25 * GIB


def test_grouped_heads_and_beams_count() -> None:
    whole, grouped = LlamaConfig(), LlamaConfig(num_key_value_heads=8)
    assert bytes_per_question(grouped, 624, 16) < bytes_per_question(whole, 624, 16) / 2.5
    assert bytes_per_question(whole, 624, 16, beams=5) > 4.5 * bytes_per_question(whole, 624, 16)


def test_the_cache_is_that_of_transformers() -> None:
    from transformers import LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, intermediate_size=8
    )
    cache = LlamaForCausalLM(config)(torch.ones(1, 10, dtype=torch.long)).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    more = bytes_per_question(config, 10, 7, itemsize=4) - bytes_per_question(config, 10, 0, itemsize=4)
    assert more / 7 == held / 10


@pytest.mark.parametrize("config", [OPTConfig(), T5Config(), LlamaConfig(head_dim=64)])
def test_every_family_s_configuration_is_read(config: Any) -> None:
    assert 1 << 20 < bytes_per_question(config, 300, 16) < GIB


def test_the_batch_follows_the_free_memory(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(free: int) -> int:
        monkeypatch.setattr(batches, "free_memory", lambda _: free)
        return planned_size(model.backbone.llm, 100, 16)

    each = bytes_per_question(model.backbone.llm.model.config, 100, 16, itemsize=4)
    assert planned(1 << 40) == 64
    assert planned(int(10 * each / 0.7) + 1) == 10
    assert planned(1) == 1
    assert planned(0) == 64  # unknown


class Limited:
    """Work that has memory for so many items."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error = most, error
        self.sizes: list[int] = []

    def __call__(self, part: Sequence[int], size: int) -> list[int]:
        self.sizes.append(len(part))
        if len(part) > self.most:
            raise self.error
        return [10 * number for number in part]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_batch_without_memory_is_halved_and_no_item_is_lost(error: Exception) -> None:
    work, said = Limited(3, error), list[str]()
    assert in_batches(range(17), 12, work, show=said.append) == [10 * number for number in range(17)]
    assert work.sizes == [12, 6, 3, 3, 3, 3, 3, 2]
    assert said == [
        "out of memory with 12 questions in a batch; continuing with 6",
        "out of memory with 6 questions in a batch; continuing with 3",
    ]


def test_where_one_question_has_no_memory_the_error_says_what_to_lower() -> None:
    with pytest.raises(EvaluationError, match="one question in a batch: use fewer --max_new_tokens"):
        in_batches(range(3), 2, Limited(0, MemoryError()), show=lambda _: None)


def test_another_error_is_not_taken_for_missing_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(range(3), 2, Limited(0, RuntimeError("shapes do not fit")), show=lambda _: None)


def test_answers_come_in_the_order_of_the_questions_whatever_the_batch(model: Any, samples: list[Sample]) -> None:
    whole = answer_all(model, samples)
    assert [item.name for item in whole] == [sample.id for sample in samples]
    for size in (1, 3):
        assert [item.said for item in answer_all(model, samples, batch_size=size)] == [item.said for item in whole]


def test_an_answer_that_was_cut_off_says_so(model: Any, samples: list[Sample]) -> None:
    short = answer_all(model, samples, max_new_tokens=1)
    assert {item.finish_reason for item in short} == {"length"}


def test_a_model_out_of_memory_answers_in_smaller_batches(
    model: Any, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [item.said for item in answer_all(model, samples)]
    generate, said = model.backbone.llm.generate, list[str]()

    def limited(embeddings: torch.Tensor, *rest: Any, **options: Any) -> Any:
        if len(embeddings) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(embeddings, *rest, **options)

    monkeypatch.setattr(model.backbone.llm, "generate", limited)
    assert [item.said for item in answer_all(model, samples, show=said.append)] == whole
    assert [line.rsplit(" ", 1)[1] for line in said] == ["3", "1"]


def test_ranking_takes_the_batch_size_too(model: Any, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    logits = model.backbone.llm.logits

    def watched(embeddings: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(embeddings))
        return logits(embeddings, *rest)

    monkeypatch.setattr(model.backbone.llm, "logits", watched)
    ask(model, asked_of(samples), candidates=["red", "blue"], batch_size=3)
    assert max(sizes) == 3
    assert sum(sizes) == 2 * len(samples)


def test_two_processes_share_the_questions_and_both_have_every_answer(model: Any, samples: list[Sample]) -> None:
    alone = answer_all(model, samples, batch_size=2)
    asked: list[int] = []

    def work() -> Any:
        generate = model.backbone.llm.generate

        def watched(embeddings: torch.Tensor, *rest: Any, **options: Any) -> Any:
            asked.append(len(embeddings))
            return generate(embeddings, *rest, **options)

        model.backbone.llm.generate = watched
        found = answer_all(model, samples, batch_size=2, shared=True)
        return [(item.name, item.said, item.finish_reason) for item in found], asked

    both = in_two(work)
    for answers, sizes in both:
        assert answers == [(item.name, item.said, item.finish_reason) for item in alone]
        assert sizes in ([2, 2], [2, 1])
    assert sum(sum(sizes) for _, sizes in both) == len(samples)


def test_fewer_questions_than_a_batch_are_shared_too(model: Any, samples: list[Sample]) -> None:
    def work() -> Any:
        sizes: list[int] = []
        generate = model.backbone.llm.generate
        model.backbone.llm.generate = lambda rows, *rest, **options: (
            sizes.append(len(rows)) or generate(rows, *rest, **options)
        )
        answer_all(model, samples, shared=True)
        return sizes

    assert in_two(work) == [[4], [3]]


def test_an_error_in_one_process_ends_both() -> None:
    def fail(part: Sequence[int], _: int) -> list[int]:
        if 1 in part:
            raise RecipeError("no such picture")
        return list(part)

    one, two = in_two(lambda: in_batches(range(4), 1, fail, shared=True))
    assert "OtherProcessError: process 0 stops with process 1: no such picture" in str(one)
    assert "RecipeError: no such picture" in str(two)
