"""How runs name models."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.serve.errors import ServeError
from inlay.recipes.serve.model_names import named_runs


def test_two_runs_of_one_name_need_names(tmp_path: Path) -> None:
    for place in ("x/llava", "y/llava"):
        (tmp_path / place).mkdir(parents=True)
    runs = [str(tmp_path / "x/llava"), str(tmp_path / "y/llava")]
    with pytest.raises(ServeError, match="two models have the name 'llava'"):
        named_runs(runs)
    assert list(named_runs([runs[0], f"other={runs[1]}"])) == ["llava", "other"]


def test_a_bundle_is_named_by_its_run(tmp_path: Path) -> None:
    (tmp_path / "mine" / "bundle").mkdir(parents=True)
    assert list(named_runs([str(tmp_path / "mine" / "bundle")])) == ["mine"]


def test_a_repository_with_a_revision_is_named_by_owner_and_name() -> None:
    assert list(named_runs(["hf://me/llava@v1", "me/other"])) == ["me/llava", "me/other"]
