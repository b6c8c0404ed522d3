"""Padding."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, MessageError, TextPart
from inlay.adapters.core.batch import collate
from inlay.adapters.core.encode import encode
from inlay.adapters.language.labels import IGNORE

VICUNA = Layout(template="vicuna_v1")


def ask(question: str, answer: str) -> tuple[Message, ...]:
    return (Message("user", (TextPart(question),)), Message("assistant", (TextPart(answer),)))


def test_a_batch_holds_a_conversation(llm_of: Any) -> None:
    with pytest.raises(MessageError, match="at least one conversation"):
        collate([], llm_of("llama").pad_id)


def test_padding_goes_right_for_training_and_left_for_generation(llm_of: Any) -> None:
    llm = llm_of("llama")
    rows = [encode(ask("a", "b"), VICUNA, llm, {}), encode(ask("a much longer question?", "b"), VICUNA, llm, {})]
    right, left = collate(rows, llm.pad_id, "right"), collate(rows, llm.pad_id, "left")
    assert right.mask[0].tolist() == sorted(right.mask[0].tolist(), reverse=True)
    assert left.mask[0].tolist() == sorted(left.mask[0].tolist())
    assert (right.labels == IGNORE)[right.mask == 0].all()


def planned(llm: Any) -> Any:
    rows = [encode(ask("a", "b"), VICUNA, llm, {}), encode(ask("a much longer question?", "b"), VICUNA, llm, {})]
    batch = collate(rows, llm.pad_id)
    return batch.planned(llm.plan(batch.labels, batch.mask))


def test_a_loss_plan_stays_with_its_labels_alone(llm_of: Any) -> None:
    batch = planned(llm_of("llama"))
    assert batch.plan is not None
    assert batch.to(batch.ids.device).plan is not None
    assert replace(batch, labels=batch.labels.clone()).plan is None


def test_a_loss_plan_is_dropped_when_labels_are_changed_in_place(llm_of: Any) -> None:
    batch = planned(llm_of("llama"))
    batch.labels[0] = IGNORE
    assert batch.plan is None
    assert batch.to(batch.ids.device).plan is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda batch: pickle.loads(pickle.dumps(batch))])
def test_a_copy_of_a_batch_has_a_loss_plan_of_its_own(llm_of: Any, copied: Any) -> None:
    batch = planned(llm_of("llama"))
    other = copied(batch)
    other.labels[0] = IGNORE
    assert (batch.plan is None, copied(batch).plan is None, other.plan is None) == (False, False, True)
