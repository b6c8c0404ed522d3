"""A write that is killed, interrupted, starved of space or raced leaves the old bundle or the new one, whole."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from inlay.hub import Bundle, BundleError
from inlay.hub.safety import atomic

Make = Callable[..., Bundle]
Equal = Callable[[Bundle, Bundle], bool]

# Replaces the folder argv[1] by copies of argv[2] and argv[3] in turn until it is killed. Imports no torch: fast.
WRITER = """
import sys
from pathlib import Path
from inlay.hub.safety.atomic import replace_folder
def content(folder):
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
versions = [content(folder) for folder in sys.argv[2:]]
print("ready", flush=True)
while True:
    for files in versions:
        replace_folder(sys.argv[1], files, overwrite=True, check_old=lambda folder: None)
"""


@pytest.fixture
def old(make_bundle: Make) -> Bundle:
    return make_bundle(0.5)


@pytest.fixture
def new(make_bundle: Make) -> Bundle:
    return make_bundle(2.0)


@pytest.fixture
def writer(old: Bundle, new: Bundle, folder: Path, tmp_path: Path) -> Callable[[], subprocess.Popen[bytes]]:
    old.write(tmp_path / "old")
    new.write(tmp_path / "new")

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", WRITER, str(folder), str(tmp_path / "old"), str(tmp_path / "new")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    return start


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def _kill_often(
    times: int, writer: Callable[[], subprocess.Popen[bytes]], folder: Path, check: Callable[[], str]
) -> None:
    rng = random.Random(0)
    seen, leftovers = set(), 0
    for _ in range(times):
        process = writer()
        time.sleep(rng.uniform(0, 0.05))
        _kill(process)
        seen.add(check())
        found = [path.name for path in folder.parent.iterdir() if path != folder]
        leftovers += len(found)
        assert len(found) <= 1, "leftovers pile up"
    assert leftovers, "no kill met a write: the test would prove nothing"
    assert seen <= {"old", "new"}


def _which(folder: Path, old: Bundle, new: Bundle, equal: Equal) -> str:
    read = Bundle.read(folder)
    return "old" if equal(read, old) else "new" if equal(read, new) else "a mixture"


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments(
    times: int, writer: Any, folder: Path, old: Bundle, new: Bundle, equal: Equal
) -> None:
    _kill_often(times, writer, folder, lambda: _which(folder, old, new, equal))
    new.write(folder, overwrite=True)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_reader_beside_a_writer_sees_the_old_or_the_new(
    writer: Any, folder: Path, old: Bundle, new: Bundle, equal: Equal
) -> None:
    process = writer()
    try:
        seen = [_which(folder, old, new, equal) for _ in range(100)]
        assert process.poll() is None
    finally:
        _kill(process)
    assert set(seen) == {"old", "new"}


def test_two_writers_of_one_folder_take_turns(folder: Path, old: Bundle, new: Bundle, equal: Equal) -> None:
    failed: list[BaseException] = []

    def work(bundle: Bundle) -> None:
        try:
            for _ in range(10):
                bundle.write(folder, overwrite=True)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(bundle,)) for bundle in (old, new)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert _which(folder, old, new, equal) in ("old", "new")
    assert list(folder.parent.iterdir()) == [folder]


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def _interrupt_at(line: int, action: Callable[[], object]) -> bool:
    """Run ``action`` and raise KeyboardInterrupt before the n-th line that is executed in atomic.py."""
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != atomic.__file__:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


OLD = {"inlay.json": b"old", "lora/a": b"old" * 99}
NEW = {"inlay.json": b"new" * 99, "b": b"new"}


def _put(target: Path, files: dict[str, bytes], *, overwrite: bool = True) -> None:
    atomic.replace_folder(target, files, overwrite=overwrite, check_old=lambda folder: None)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _interrupt_overwrites(target: Path) -> list[dict[str, bytes]]:
    """What stands at ``target`` after an interrupt before line 1, 2, 3, ... of an overwrite."""
    seen: list[dict[str, bytes]] = []
    _put(target, OLD)
    while _interrupt_at(len(seen) + 1, lambda: _put(target, NEW)):
        aside = atomic.aside_of(target)
        seen.append(_content(target if target.exists() else aside))
        _put(target, OLD)
        assert list(target.parent.iterdir()) == [target], "the next write clears up"
    return seen


def test_ctrl_c_before_any_line_of_an_overwrite(tmp_path: Path) -> None:
    seen = _interrupt_overwrites(tmp_path / "x")
    assert len(seen) > 50
    assert all(content in (OLD, NEW) for content in seen)
    assert (seen[0], seen[-1]) == (OLD, NEW)


def test_ctrl_c_before_any_line_of_a_first_write(tmp_path: Path) -> None:
    target = tmp_path / "x"
    steps = 0
    while _interrupt_at(steps + 1, lambda: _put(target, NEW, overwrite=False)):
        steps += 1
        assert not target.exists() or _content(target) == NEW
        _put(target, OLD)
        assert list(tmp_path.iterdir()) == [target]
        shutil.rmtree(target)
    assert steps > 50


STEPS = ["write", "fsync", "rename", "close"]


@pytest.mark.parametrize("call", STEPS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=repr)
def test_a_failing_step_leaves_nothing(
    folder: Path, new: Bundle, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    real = getattr(os, call)

    def fail(*args: Any) -> Any:
        if call == "close":
            real(*args)
        raise error

    # Only in atomic.py, and only this once: what cleans up afterwards works again.
    def once(*args: Any) -> Any:
        monkeypatch.setattr(os, call, real)
        return fail(*args)

    target = folder.parent / "other"
    monkeypatch.setattr(os, call, once)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else BundleError):
        new.write(target)
    assert list(folder.parent.iterdir()) == [folder]


# --- no space, no permission, in the way -----------------------------------------------------------------------------


def test_a_full_disk_is_told_and_leaves_the_old_bundle(folder: Path) -> None:
    """A real short write: the kernel stops the process at 100 bytes a file."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code = (
        "import resource, sys\nfrom inlay.hub.safety.atomic import replace_folder\n"
        "from inlay.hub.errors import BundleError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n    replace_folder(sys.argv[1], {'a': b'x' * 50, 'b/c': b'x' * 500}, overwrite=True,\n"
        "                   check_old=lambda folder: None)\n"
        "except BundleError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "no space left for 550 bytes; nothing was changed" in run.stdout
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_exists_is_kept(folder: Path, old: Bundle, new: Bundle, equal: Equal) -> None:
    with pytest.raises(BundleError, match=r"already exists; choose another folder, or overwrite=True"):
        new.write(folder)
    assert _which(folder, old, new, equal) == "old"


def test_overwrite_replaces(folder: Path, new: Bundle, equal: Equal) -> None:
    new.write(folder, overwrite=True)
    assert equal(Bundle.read(folder), new)


def test_overwrite_leaves_no_file_of_the_old_bundle(folder: Path, make_bundle: Make) -> None:
    make_bundle(lora=False).write(folder, overwrite=True)
    assert not (folder / "lora").exists()


@pytest.mark.parametrize("name", ["thesis.tex", ".git/config", "lora/notes.txt", ".env"])
def test_a_folder_that_holds_something_else_is_never_replaced(folder: Path, new: Bundle, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("precious")
    with pytest.raises(BundleError, match=r"is not overwritten") as caught:
        new.write(folder, overwrite=True)
    assert name in str(caught.value)
    assert (folder / name).read_text() == "precious"


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, new: Bundle) -> None:
    with pytest.raises(BundleError, match=r"holds no inlay.json"):
        new.write(tmp_path, overwrite=True)


def test_a_file_is_never_replaced(tmp_path: Path, new: Bundle) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BundleError):
        new.write(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_in_place_of_the_parent_is_told(tmp_path: Path, new: Bundle) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=r"cannot be written"):
        new.write(tmp_path / "file" / "bundle")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_an_impossible_path_is_told(tmp_path: Path, new: Bundle, path: str) -> None:
    with pytest.raises(BundleError):
        new.write(f"{tmp_path}/{path}")


def test_missing_parents_are_made(tmp_path: Path, new: Bundle, equal: Equal) -> None:
    new.write(tmp_path / "a" / "b" / "bundle")
    assert equal(Bundle.read(tmp_path / "a" / "b" / "bundle"), new)


def test_a_link_to_a_bundle_stays_a_link(folder: Path, tmp_path: Path, new: Bundle, equal: Equal) -> None:
    (tmp_path / "latest").symlink_to(folder)
    new.write(tmp_path / "latest", overwrite=True)
    assert (tmp_path / "latest").is_symlink()
    assert equal(Bundle.read(folder), new)


def test_a_very_long_name_can_be_written(tmp_path: Path, new: Bundle, equal: Equal) -> None:
    new.write(tmp_path / ("x" * 255))
    assert equal(Bundle.read(tmp_path / ("x" * 255)), new)


# --- a file system that cannot exchange two folders ------------------------------------------------------------------


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)


@pytest.mark.usefixtures("no_exchange")
def test_overwrite_without_exchange(folder: Path, new: Bundle, equal: Equal) -> None:
    new.write(folder, overwrite=True)
    assert equal(Bundle.read(folder), new)
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.usefixtures("no_exchange")
def test_ctrl_c_before_any_line_without_exchange(tmp_path: Path) -> None:
    seen = _interrupt_overwrites(tmp_path / "x")
    assert all(content in (OLD, NEW) for content in seen)
    assert (seen[0], seen[-1]) == (OLD, NEW)


def test_a_crash_between_the_two_renames_is_read_and_healed(folder: Path, old: Bundle, equal: Equal) -> None:
    os.rename(folder, atomic.aside_of(folder))
    assert equal(Bundle.read(folder), old)
    with pytest.raises(BundleError, match=r"already exists"):
        old.write(folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_file_system_without_locks_is_written(
    folder: Path, new: Bundle, equal: Equal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    new.write(folder, overwrite=True)
    assert equal(Bundle.read(folder), new)


def test_modes_follow_the_umask(tmp_path: Path, new: Bundle) -> None:
    before = os.umask(0o027)
    try:
        new.write(tmp_path / "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "x" / "inlay.json").stat().st_mode & 0o777 == 0o640
    assert json.loads((tmp_path / "x" / "inlay.json").read_bytes())["format"] == "inlay"


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "shard"
    atomic.write_file(target, b"old")

    def full(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(OSError, match="No space left"):
                atomic.write_file(target, b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["shard"]
        assert target.read_bytes() == b"old"
    atomic.write_file(target, b"new")
    assert target.read_bytes() == b"new"
