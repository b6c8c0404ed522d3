"""A folder appears complete or not at all, and nothing else changes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from inlay.adapters.export.new_folder import TEMPORARY, check_new, check_space, new_folder
from inlay.adapters.export.target import ExportError


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_has_the_files_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "out") as fresh:
        (fresh / "config.json").write_text("{}")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "config.json").read_text() == "{}"
    assert left(tmp_path / "deep") == ["out"]


def stopped_by(error: BaseException, output: Path) -> None:
    with new_folder(output) as fresh:
        (fresh / "half").write_text("half")
        raise error


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped_by(KeyboardInterrupt(), tmp_path / "out")
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_there_is_not_touched(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "out"
    {"file": place.touch, "folder": place.mkdir, "link": lambda: place.symlink_to("nowhere")}[kind]()
    with pytest.raises(ExportError, match="already exists; choose a new folder"), new_folder(place):
        pass
    assert left(tmp_path) == ["out"]


def test_a_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="already exists"), new_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
    assert left(tmp_path) == ["out"]


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="is not a folder"):
        check_new(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(ExportError, match=r"no space left; free some space.*Nothing was changed"):
        stopped_by(error, tmp_path / "out")
    assert left(tmp_path) == []


def test_too_little_space_is_told_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    check_space(tmp_path / "new", 10)
    with pytest.raises(ExportError, match=r"expected 11 free bytes .* got 10"):
        check_space(tmp_path / "new", 11)


def test_the_folder_of_a_dead_process_is_removed_and_that_of_a_live_one_kept(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as fresh:
        start = fresh.name.rpartition("-")[0]
    dead, alive, other = (tmp_path / name for name in (f"{start}-dead", f"{start}-live", f"{TEMPORARY}other-dead"))
    for folder in (dead, alive, other):
        folder.mkdir()
    handle = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        shutil.rmtree(tmp_path / "out")
        with new_folder(tmp_path / "out"):
            pass
    finally:
        os.close(handle)
    assert left(tmp_path) == sorted([alive.name, other.name, "out"])
