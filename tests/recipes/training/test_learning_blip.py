"""The BLIP family, whole: `inlay train blip2` and `minigpt4` on the miniature learn what results.md says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def learnt(system: str, output: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "inlay.recipes.cli", "train", system, f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    held: dict[str, Any] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return held


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return learnt("blip2", tmp_path_factory.mktemp("learning") / "blip2")


@pytest.mark.timeout(1800)
def test_stage_one_finds_captions_far_above_chance(blip2: dict[str, Any]) -> None:
    found = blip2["stages"]["represent"]
    for direction in ("image_to_text@1", "text_to_image@1"):
        assert found[direction] > 50 / found["captions"]


def test_stage_two_captions(blip2: dict[str, Any]) -> None:
    assert blip2["stages"]["generate"]["right"] > 0.65


def test_questions_are_answered_as_well_as_llava_does(blip2: dict[str, Any]) -> None:
    assert blip2["accuracy"] >= 0.84
    assert blip2["accuracy"] >= blip2["blind"] + 0.4


@pytest.mark.timeout(1800)
def test_one_linear_layer_on_a_frozen_qformer_is_what_minigpt4_learns(tmp_path: Path) -> None:
    figures = learnt("minigpt4", tmp_path / "minigpt4")
    assert figures["accuracy"] >= 0.83
    assert figures["accuracy"] >= figures["blind"] + 0.4
