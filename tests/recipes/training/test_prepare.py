"""Which data sets a run shows and records."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inlay.recipes.training.prepare import Prepared


@pytest.mark.parametrize(
    ("stages", "same", "shown"),
    [
        (["train"], True, ["train", "test"]),
        (["train"], False, ["train", "test"]),
        (["all"], True, ["train", "test"]),
        (["all"], False, ["align", "train", "test"]),
        (["align", "train"], True, ["align", "train", "test"]),
    ],
)
def test_captions_that_no_stage_reads_are_not_shown(stages: list[str], same: bool, shown: list[str]) -> None:
    train: list[Any] = [1, 2]
    samples = {"align": train if same else [3], "train": train, "test": [4]}
    recipe = SimpleNamespace(stages={kind: SimpleNamespace(data=kind) for kind in stages})
    run: Any = SimpleNamespace(samples=samples, job=SimpleNamespace(recipe=recipe))
    read: Any = Prepared.read
    assert list(read.fget(run)) == shown
