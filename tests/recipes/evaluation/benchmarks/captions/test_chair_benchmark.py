"""CHAIR on COCO: the figures by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmark_files import answered, opened


def test_the_figures(tmp_path: Path) -> None:
    benchmark, _, items = opened("chair", tmp_path / "chair")
    # Present: dog (annotated) and bench (in the caption); car. Mentioned: dog, cat; car.
    scored = answered(benchmark, items, {"1": "A dog and a cat.", "2": "An automobile."})
    expected = {"chair_i": 100 / 3, "chair_s": 50, "recall": 200 / 3, "length": 3.5}
    assert scored.figures == pytest.approx(expected)
    assert scored.main(np.sum(scored.counts, axis=0)) == pytest.approx(100 / 3)
    assert benchmark.better == "lower"
