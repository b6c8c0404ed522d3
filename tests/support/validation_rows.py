"""A stage and samples for the tests of validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.settings.stage import Stage

STAGE = Stage(
    data="train",
    template="vicuna_v1",
    geometry="pad",
    lr={"inputs.image": 1e-2, "lora": 1e-2},
    batch_size=4,
    accumulate=2,
    epochs=9,
    max_steps=6,
)


def nine_samples(image_of: Any, folder: Path) -> list[Sample]:
    """Nine of different lengths; the last five are held out."""
    rows = []
    answers = ["red", "green and blue", "blue", "a small star", "red", "two", "two large circles", "no", "yes"]
    for index, answer in enumerate(answers):
        path = folder / f"{index}.png"
        image_of(index).save(path)
        shown = () if index == 7 else (MediaPart("image", path),)
        user = Message("user", (*shown, TextPart(f"what colour is circle {index}?")))
        rows.append(Sample(f"s{index}", (user, Message("assistant", (TextPart(answer),))), "rows"))
    return rows
