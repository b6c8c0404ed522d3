"""Pairs of answers about tiny random pictures, and a plan for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from preference_stages import stage_of

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.preference.settings import Preference

GOOD = ("a small blue star.", "two red discs.", "it is green.", "no, there is none.")
BAD = ("a cat.", "one very large red disc on a table.", "it is blue, I think.", "yes.")


def said(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


@pytest.fixture
def pairs(tmp_path: Path, image_of: Any) -> list[Sample]:
    """Four pairs, each with a picture of its own."""
    found = []
    for number, (good, bad) in enumerate(zip(GOOD, BAD, strict=True)):
        path = tmp_path / f"{number}.png"
        image_of(number).save(path)
        asked = (Message("user", (MediaPart("image", path), TextPart("what is shown?"))),)
        found.append(
            Sample(str(number), (*asked, said(good)), f"pairs.json, item {number}", rejected=(*asked, said(bad)))
        )
    return found


@pytest.fixture
def with_second(pairs: list[Sample]) -> list[Sample]:
    """The same with a second picture and its own answer."""
    turned = [*pairs[1:], pairs[0]]
    return [replace(row, similar=other.messages) for row, other in zip(pairs, turned, strict=True)]


@pytest.fixture
def labelled(pairs: list[Sample]) -> list[Sample]:
    """Single answers, every other one good."""
    return [
        replace(row, messages=row.messages if number % 2 else row.rejected, rejected=(), desirable=bool(number % 2))
        for number, row in enumerate(pairs)
    ]


@pytest.fixture
def model(backbone_of: Any, adapter_of: Any) -> Any:
    backbone = backbone_of()
    return adapter_of(backbone, dropout=0.1).attach(backbone)


@pytest.fixture
def planned() -> Callable[..., Plan]:
    def make(model: Any, settings: Preference, samples: Any, *, task: Any = None, **fields: Any) -> Plan:
        torch.manual_seed(5)
        given: dict[str, Any] = {"validation": (), "show": lambda _: None, **(task or {})}
        stage = stage_of(settings, **fields)
        plan: Plan = stage.objective.plan(Task(stage=stage, model=model, sets=[samples], seed=7, **given))
        return plan

    return make
