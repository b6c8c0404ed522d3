"""The pages of the documentation, and its extension on the path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))  # mypy has it from mypy_path


@pytest.fixture(scope="session")
def docs() -> Path:
    return DOCS
