"""The main job, whole: `inlay train llava` on the miniature learns what docs/results/results.md says it learns."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = tmp_path_factory.mktemp("learning") / "run"
    command = [sys.executable, "-m", "inlay.recipes.cli", "train", "llava", f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    held: dict[str, Any] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return held


@pytest.mark.slow
def test_oracle_reads_described_scenes(figures: dict[str, Any]) -> None:
    assert figures["oracle"] >= 0.95


@pytest.mark.slow
def test_adapter_comes_near_the_oracle(figures: dict[str, Any]) -> None:
    assert figures["accuracy"] >= 0.9 * figures["oracle"]


@pytest.mark.slow
def test_adapter_looks_at_the_picture(figures: dict[str, Any]) -> None:
    assert figures["accuracy"] >= figures["blind"] + 0.4


@pytest.mark.slow
def test_captions_are_mostly_right_after_align_alone(figures: dict[str, Any]) -> None:
    assert figures["captions_after_align"] > 0.5


@pytest.mark.slow
def test_bundle_is_two_bytes_a_parameter_and_little_else(figures: dict[str, Any]) -> None:
    assert figures["bundle_bytes"] < 2_000_000
