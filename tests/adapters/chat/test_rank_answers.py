"""Ranking candidates: against a slow loop over pairs and tokens, for both kinds of language model."""

from __future__ import annotations

import copy
from threading import Thread
from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.chat.rank_answers import rank_answers
from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.inputs import InstructQFormerConfig
from inlay.adapters.language.labels import IGNORE

CANDIDATES = ["red", "a small blue star", "two", "yes of course"]


@pytest.fixture(params=["opt", "llama", "t5"])
def model(request: Any, llm_of: Any, clip_of: Any, prompt_tokenizer_of: Any) -> Any:
    """Attached, with a projector that reads and has dropout."""
    backbone = Backbone(llm_of(request.param), {"image": clip_of()}, prompt_tokenizer_of())
    sizes: Any = {"queries": 3, "hidden": 16, "layers": 1, "heads": 2, "ffn": 24, "dropout": 0.5}
    adapter = Adapter.for_backbone(
        backbone,
        system="instructblip",
        name="tiny",
        layout=Layout.published("instructblip", prompt="Question: {} Short answer:"),
        inputs={"image": InstructQFormerConfig(**sizes, vocabulary=backbone.prompter().vocabulary)},
    )
    return adapter.attach(backbone)


@pytest.fixture
def conversations(image_of: Any) -> list[tuple[Message, ...]]:
    return [
        (Message("user", (MediaPart("image", image_of(1)), TextPart("what colour?"))),),
        (Message("user", (TextPart("how many squares are there?"),)),),
    ]


def slow_score(model: Any, conversation: Any, answer: str) -> float:
    """Log-probabilities of one answer, token by token."""
    model.adapter.eval()
    batch = model.batch([(*conversation, Message("assistant", (TextPart(answer),)))])
    with torch.no_grad():
        scores = torch.log_softmax(model(batch, logits="all").logits[0].float(), dim=-1)
    apart = batch.target is not None
    labels = (batch.target if apart else batch.labels)[0].tolist()
    found = [
        float(scores[index if apart else index - 1, label]) for index, label in enumerate(labels) if label != IGNORE
    ]
    return sum(found) / len(found)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_scores_and_order_equal_those_of_a_slow_loop(model: Any, conversations: Any, batch_size: int) -> None:
    ranked = rank_answers(model, conversations, CANDIDATES, batch_size=batch_size)
    for conversation, row in zip(conversations, ranked, strict=True):
        expected = {text: slow_score(model, conversation, text) for text in CANDIDATES}
        assert {item.text: pytest.approx(item.score, abs=1e-5) for item in row} == expected
        assert [item.text for item in row] == sorted(CANDIDATES, key=lambda text: -expected[text])


def test_each_conversation_may_bring_its_own_candidates(model: Any, conversations: Any) -> None:
    ranked = rank_answers(model, conversations, [["red", "two"], ["yes of course"]])
    assert [sorted(item.text for item in row) for row in ranked] == [["red", "two"], ["yes of course"]]


def test_every_medium_of_a_batch_is_encoded_once(model: Any, conversations: Any, monkeypatch: Any) -> None:
    encoder = model.backbone.encoder("image")
    seen: list[int] = []
    original = encoder.encode

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return original(pixels)

    monkeypatch.setattr(encoder, "encode", counted)
    rank_answers(model, conversations, CANDIDATES)
    assert seen == [1]


def test_dropout_is_off_while_ranking_and_on_again_after_it(model: Any, conversations: Any) -> None:
    model.adapter.train()
    assert rank_answers(model, conversations, CANDIDATES) == rank_answers(model, conversations, CANDIDATES)
    assert model.adapter.training


def test_a_long_answer_is_not_punished_for_its_length(model: Any, conversations: Any) -> None:
    ranked = rank_answers(model, conversations[1:], ["two two two two", "two"])[0]
    assert abs(ranked[0].score - ranked[1].score) < 0.5 * abs(ranked[0].score)


@pytest.mark.parametrize("candidates", [[], [[], ["a"]], [["a"]]])
def test_missing_candidates_are_refused(model: Any, conversations: Any, candidates: Any) -> None:
    with pytest.raises(LayoutError, match="2 conversations"):
        rank_answers(model, conversations, candidates)


@pytest.mark.parametrize("candidates", [["red", ""], [["red"], [" "]]])
def test_an_empty_candidate_is_refused(model: Any, conversations: Any, candidates: Any) -> None:
    with pytest.raises(LayoutError, match="got an empty one"):
        rank_answers(model, conversations, candidates)


def test_a_text_in_the_place_of_a_list_of_candidates_is_refused(model: Any, conversations: Any) -> None:
    with pytest.raises(LayoutError, match="expected a list of answers, got the text 'red'"):
        rank_answers(model, conversations, "red")


def test_a_batch_size_of_nothing_is_refused(model: Any, conversations: Any) -> None:
    with pytest.raises(LayoutError, match="batch_size: expected a whole number from 1 on, got 0"):
        rank_answers(model, conversations, ["red"], batch_size=0)


def test_all_scores_are_of_one_adapter(model: Any, conversations: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap in another thread waits until the last batch has been scored."""
    other, encode, holders = copy.deepcopy(model.adapter), model.encode, []
    other.name = "other"
    swapping = Thread(target=lambda: model.swap(other))

    def late(*given: Any, **options: Any) -> Any:
        if not swapping.ident:
            swapping.start()
            swapping.join(timeout=0.5)
        holders.append(model.adapter.name)
        return encode(*given, **options)

    monkeypatch.setattr(model, "encode", late)
    before = model.adapter.name
    rank_answers(model, conversations, ["red", "two"], batch_size=1)
    swapping.join()
    assert set(holders) == {before}
    assert model.adapter is other
