"""Encoded samples are kept as long as they fit."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.recipes.data import conversations
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.settings.stage import Stage


@pytest.mark.parametrize(("limit", "kept"), [(1 << 20, 3), (1, 1)])
def test_samples_are_kept_up_to_the_limit(
    backbone_of: Any, adapter_of: Any, monkeypatch: pytest.MonkeyPatch, limit: int, kept: int
) -> None:
    monkeypatch.setattr(conversations, "KEEP_BYTES", limit)
    backbone = backbone_of()
    stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr={"lora": 1e-3}, batch_size=1)
    turns = (Message("user", (TextPart("what?"),)), Message("assistant", (TextPart("red"),)))
    samples = [Sample(f"s{number}", turns, "rows") for number in range(3)]
    data = StageData(samples, adapter_of(backbone).attach(backbone), stage, seed=0)
    rows = [data.read(0, index) for index in range(3)]
    assert len(data.encoded) == kept
    assert data.kept == sum(row.ids.nbytes + row.labels.nbytes + row.slots.nbytes for row in rows[:kept])
