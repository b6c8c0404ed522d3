"""Every module of `pretraining` can be imported, and its examples give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(ROOT.glob("pretraining/**/*.py"))]


def test_examples_hold() -> None:
    pytest.importorskip("diffusers")
    results = [doctest.testmod(importlib.import_module(name)) for name in MODULES if not name.endswith("__init__")]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 2
