"""Checkpoints on disk: whole at any moment, whatever fills the disk or kills the process."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.training.checkpoints import AtomicCheckpoints, CheckpointError, intact, part_of, previous_of


def state(step: int, size: int = 100) -> dict[str, Any]:
    return {"state_dict": {"w": torch.full((size,), float(step))}, "optimizer_states": [], "global_step": step}


def step_in(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["global_step"])


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """Two checkpoints of a stage, of steps 1 and 2."""
    path = tmp_path / "align" / "last.ckpt"
    for step in (1, 2):
        AtomicCheckpoints().save_checkpoint(state(step), path)
    return path


def test_the_checkpoint_before_the_last_is_kept(last: Path) -> None:
    assert (step_in(last), step_in(previous_of(last))) == (2, 1)
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.ckpt", "last.ckpt.previous"]


def test_a_checkpoint_never_passes_through_the_temporary_folder(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/null/no-folder")
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/no-folder")
    AtomicCheckpoints().save_checkpoint(state(3), last)
    assert step_in(last) == 3


def test_a_full_disk_is_an_error_of_the_disk_and_leaves_both_checkpoints(
    last: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in last.parent.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpoints().save_checkpoint(state(3), last)
    assert {path.name: path.read_bytes() for path in last.parent.iterdir()} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run([str(shutil.which("umount")), str(folder)], check=True)


def test_a_small_disk_that_is_full_in_the_middle_of_a_checkpoint_keeps_the_last_one(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    AtomicCheckpoints().save_checkpoint(state(1, size=100_000), path)
    for _ in range(3):  # 0.4 + 0.4 + 0.4 MiB do not fit, and a second try finds as much room as the first
        with pytest.raises(OSError, match="No space left") as failed:
            AtomicCheckpoints().save_checkpoint(state(2, size=200_000), path)
        assert failed.value.errno == errno.ENOSPC
    assert step_in(path) == 1
    assert [file.name for file in small_disk.iterdir()] == ["last.ckpt"]


SAVE = """
import sys, torch
from pathlib import Path
from inlay.recipes.training.checkpoints import AtomicCheckpoints
step = 1
while True:
    state = {"state_dict": {"w": torch.full((300_000,), float(step))}, "optimizer_states": [], "global_step": step}
    AtomicCheckpoints().save_checkpoint(state, Path(sys.argv[1]))
    step += 1
"""


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    process = subprocess.Popen([sys.executable, "-c", SAVE, str(path)], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        # Kill it while a third file is being written.
        while not (previous_of(path).exists() and part_of(path).exists()) and time.monotonic() < end:
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    lines: list[str] = []
    found = intact(path, lines.append)
    assert found is not None
    held = torch.load(found, weights_only=True)
    assert torch.equal(held["state_dict"]["w"], torch.full((300_000,), float(held["global_step"])))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((10,), 2.0).numpy().tobytes()) + 5] ^= 1
    path.write_bytes(bytes(data))


def other_object(path: Path) -> None:
    torch.save({"state_dict": ValueError("x")}, path)


def no_zip(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": {}}))


def other_fields(path: Path) -> None:
    torch.save({"weights": {}}, path)


@pytest.mark.parametrize("damage", [cut_off, empty, one_bit, other_object, no_zip, other_fields, Path.unlink])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(last: Path, damage: Any) -> None:
    damage(last)
    lines: list[str] = []
    assert intact(last, lines.append) == previous_of(last)
    assert len(lines) == 1
    assert f"{last} " in lines[0]
    assert f"resuming from the previous one, {previous_of(last)}" in lines[0]
    assert "\n" not in lines[0]


def test_an_intact_checkpoint_is_used_without_a_word(last: Path) -> None:
    lines: list[str] = []
    assert intact(last, lines.append) == last
    assert not lines


def test_no_checkpoint_is_a_stage_that_has_not_begun(tmp_path: Path) -> None:
    assert intact(tmp_path / "last.ckpt", print) is None


def test_two_damaged_checkpoints_are_both_named_with_the_way_out(last: Path) -> None:
    cut_off(last)
    empty(previous_of(last))
    with pytest.raises(CheckpointError) as refused:
        intact(last, print)
    said = str(refused.value)
    assert f"{last} cannot be used" in said
    assert f"{previous_of(last)} cannot be used" in said
    assert f"Remove {last.parent}" in said


def test_the_file_of_a_killed_writer_is_written_over(last: Path) -> None:
    part_of(last).write_bytes(b"half of it")
    AtomicCheckpoints().save_checkpoint(state(3), last)
    assert not part_of(last).exists()
    assert step_in(last) == 3
