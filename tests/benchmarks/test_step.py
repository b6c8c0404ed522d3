"""The benchmark of the training step, on a narrow model: its sides agree, and it says what it measured."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
LORA = {"scores where there is a label", "chunked cross-entropy", "no padding, last label", "fused LoRA", "all of them"}
THEIRS = {"transformers + peft", "the same, features cached"}


@pytest.mark.slow
@pytest.mark.parametrize("trains", ["lora", "projector"])
def test_every_pair_of_sides_gives_the_same_step(trains: str) -> None:
    small = ["--width", "128", "--layers", "2", "--vocabulary", "300", "--rounds", "1", "--trains", trains]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.step", *small],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in run.stdout.splitlines() if " -> " in line]
    assert {line[:34].strip() for line in lines} == (LORA if trains == "lora" else LORA - {"fused LoRA"}) | THEIRS
    assert all(float(line.rpartition(" ")[2]) < 1e-4 for line in lines)


@pytest.fixture(scope="module")
def timing() -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location("timing", ROOT / "benchmarks" / "timing.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["timing"] = module  # Where dataclasses look up the types of their fields.
    spec.loader.exec_module(module)
    return module


def test_the_sides_take_turns(timing: ModuleType) -> None:
    calls: list[str] = []
    timed = timing.abba(lambda: calls.append("a"), lambda: calls.append("b"), 2)
    assert "".join(calls) == "abbaabba"
    assert [len(side) for side in timed.wall] == [4, 4]


def test_the_ratio_is_of_medians(timing: ModuleType) -> None:
    timed = timing.Timed(wall=([4.0, 9.0, 2.0], [1.0, 2.0, 100.0]), cpu=([3.0], [1.0]))
    assert (timed.ratio, timed.cpu_ratio) == (2.0, 3.0)
    assert timed.spread == 99.0 / 2


def test_bytes_that_wait_for_the_backward_pass_are_counted_once(timing: ModuleType) -> None:
    layer, x = nn.Linear(8, 4), torch.ones(16, 8, requires_grad=True)
    # The product keeps x, the square its own input; the weights are the module's and do not count.
    assert timing.saved_bytes(lambda: layer(x).square().sum(), layer) == (16 * 8 + 16 * 4) * 4
    assert timing.saved_bytes(lambda: (x * x).sum(), layer) == 16 * 8 * 4
