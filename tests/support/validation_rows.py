"""A stage and samples for the tests of validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from picture_rows import circle_rows

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
    answers = ("red", "green and blue", "blue", "a small star", "red", "two", "two large circles", "no", "yes")
    return circle_rows(image_of, folder, answers, without_picture=(7,))
