"""Writing a data file leaves the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inlay.recipes.data import DataError
from inlay.recipes.data.rows.write import write_text


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    write_text(path, "caf\u00e9")
    assert path.read_text(encoding="utf-8") == "caf\u00e9"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"a\.json: cannot be written: No space left on device"):
        write_text(path, "new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["a.json"])


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "gone" / "a.json", "x")
