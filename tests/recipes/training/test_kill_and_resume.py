"""A real training process, killed with -9 or out of disk space, and resumed."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SETTINGS = [
    "--evaluate=false",
    "--checkpoint_every=4",
    "--stages.align.max_steps=6",
    "--stages.instruct.max_steps=16",
    "--lora.dropout=0.1",
]


def command(output: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "inlay.recipes.cli", "train", "llava", f"--output={output}", *SETTINGS, *more]


def run(output: Path, *more: str) -> None:
    done = subprocess.run(command(output, *more), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_killed_and_resumed_run_gives_the_same_bundle(tmp_path: Path) -> None:
    # Both runs carry one name, since the name is written into the bundle.
    whole, parts = tmp_path / "whole" / "run", tmp_path / "parts" / "run"
    run(whole)
    process = subprocess.Popen(command(parts), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = parts / "checkpoints" / "instruct" / "last.ckpt"
    end = time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (parts / "bundle").exists()
    run(parts, "--resume=true")
    for name in ("adapter.safetensors", "lora/adapter_model.safetensors"):
        assert (parts / "bundle" / name).read_bytes() == (whole / "bundle" / name).read_bytes()
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_run_without_disk_space_says_so_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    output, too_small = tmp_path / "run", 100_000
    full = subprocess.run(
        command(output),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (too_small, too_small)),
    )
    assert full.returncode == 1, full.stderr[-2000:]
    assert "free some space" in full.stderr
    assert not list(output.rglob("last.ckpt"))
    assert not (output / "bundle").exists()
    run(output, "--resume=true")
    assert (output / "bundle" / "inlay.json").exists()


class Bomb:
    """What a checkpoint from somebody else may run when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("import os; open(os.environ['INLAY_TEST_CANARY'], 'w').write('run')",)


@pytest.mark.slow
def test_a_checkpoint_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INLAY_TEST_CANARY", str(tmp_path / "canary"))
    output = tmp_path / "run"
    few = ["--stages.align.max_steps=2", "--stages.instruct.max_steps=2"]
    run(output, *few)
    (output / "metrics.json").unlink()
    shutil.rmtree(output / "bundle")
    for checkpoint in output.rglob("last.ckpt*"):
        checkpoint.write_bytes(pickle.dumps(Bomb()))
    done = subprocess.run(
        command(output, "--resume=true", *few), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert not (output / "bundle").exists()
    assert not (tmp_path / "canary").exists()
