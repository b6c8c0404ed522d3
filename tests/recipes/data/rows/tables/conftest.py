"""A cache folder of the test's own, and facts that are always kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.data.rows.tables import reading


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the entries, which is not in the folder of the data."""
    folder = tmp_path_factory.mktemp("hf")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder))
    monkeypatch.setattr(reading, "KEPT_SECONDS", 0.0)
    return folder / "inlay"
