"""The forward pass in its two halves: embeddings, and what the LLM makes of them."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread
from typing import Any

import pytest
import torch

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.labels import IGNORE


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    backbone = backbone_of()
    return adapter_of(backbone).eval().attach(backbone)


@pytest.fixture
def batch(model: Any, image_of: Any) -> Any:
    user = Message("user", (MediaPart("image", image_of()), TextPart("what is shown?")))
    return model.batch([(user, Message("assistant", (TextPart("a small blue star."),)))])


@pytest.mark.parametrize("logits", ["labelled", "all"])
def test_the_halves_make_the_whole(model: Any, batch: Any, logits: Any) -> None:
    whole, halves = model(batch, logits=logits), model.predict(model.embeddings(batch), batch, logits=logits)
    assert torch.equal(whole.logits, halves.logits)
    assert torch.equal(whole.loss, halves.loss)


def test_other_embeddings_in_the_slots_give_another_loss(model: Any, batch: Any) -> None:
    embeddings = model.embeddings(batch)
    other = torch.where(batch.slots[..., None], torch.ones_like(embeddings), embeddings)
    assert model.predict(other, batch).loss != model(batch).loss


@pytest.mark.parametrize("logits", ["labelled", "all"])
def test_without_labels_there_is_no_loss(model: Any, batch: Any, logits: Any) -> None:
    silent = replace(batch, labels=torch.full_like(batch.labels, IGNORE))
    assert model(silent, logits=logits).loss is None


def test_a_loss_is_that_of_labels_changed_in_place(model: Any, batch: Any) -> None:
    labels = batch.labels.clone()
    labels[0, (labels[0] != IGNORE).nonzero()[0]] = IGNORE
    wanted = model(replace(batch, labels=labels), logits="none").loss
    batch.labels.copy_(labels)
    assert torch.equal(model(batch, logits="none").loss, wanted)


def test_a_swap_waits_for_the_whole_of_a_generation(
    model: Any, adapter_of: Any, image_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the words of one projector are continued by the LoRA of another."""
    other, write = adapter_of(model.backbone, seed=9), model.write
    swapping = Thread(target=lambda: model.swap(other))
    holders = []

    def late(*given: Any, **options: Any) -> Any:
        swapping.start()
        swapping.join(timeout=0.5)
        holders.append(model.backbone.attached)
        return write(*given, **options)

    monkeypatch.setattr(model, "write", late)
    asked = (Message("user", (MediaPart("image", image_of()), TextPart("what?"))),)
    name = model.adapter.name
    model.generate(model.batch([asked], generation=True), max_new_tokens=2)
    swapping.join()
    assert holders == [name]
    assert model.backbone.attached == other.name
