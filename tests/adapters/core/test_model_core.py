"""The forward pass in its two halves: embeddings, and what the LLM makes of them."""

from __future__ import annotations

from dataclasses import replace
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
