"""Start-up: the command answers at once, and a floor does not load what it does not need."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest

HELP = "from inlay.recipes.cli import main; main(['--help'])"
PEERS = "import transformers, peft"


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _seconds(code: str) -> float:
    start = time.perf_counter()
    _python(code)
    return time.perf_counter() - start


@pytest.mark.parametrize("heavy", ["diffusers", "lightning", "jsonargparse", "tensorboard"])
def test_importing_adapters_does_not_import(heavy: str) -> None:
    _python(f"import sys, inlay.adapters; sys.exit({heavy!r} in sys.modules)")


@pytest.mark.parametrize("heavy", ["transformers", "peft", "lightning", "diffusers"])
def test_importing_hub_does_not_import(heavy: str) -> None:
    _python(f"import sys, inlay.hub; sys.exit({heavy!r} in sys.modules)")


def test_adapters_work_without_peft() -> None:
    """PEFT is the format of a LoRA on disk; the library is a reference for tests and benchmarks alone."""
    _python("import sys; sys.modules['peft'] = None; import inlay.adapters.adapter, inlay.recipes.training.run")


def test_help_names_the_commands() -> None:
    assert {"train", "evaluate", "chat", "inspect"} <= set(re.findall(r"\w+", _python(HELP)))


@pytest.mark.slow
def test_help_takes_at_most_three_tenths_of_importing_the_peers() -> None:
    # Best of three, taken in turn, so that a busy moment of the machine hits both.
    pairs = [(_seconds(HELP), _seconds(PEERS)) for _ in range(3)]
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    assert ours <= 0.3 * theirs, f"inlay --help {ours:.2f} s, import transformers, peft {theirs:.2f} s"
