"""Several processes of one command: what they are told, and how they end."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from inlay.recipes.cli import main
from inlay.recipes.distributed.launch import check_processes, launch
from inlay.recipes.settings.run import RunSettings, SettingsError
from inlay.recipes.systems import llava

STAGES = llava.recipe().stages


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_processes_are_told_their_numbers_as_by_torchrun(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
    text = (
        f"import os, pathlib; told = ' '.join(os.environ[name] for name in {names}); "
        f"pathlib.Path({str(tmp_path)!r}, os.environ['RANK']).write_text(told)"
    )
    assert launch(script(text), 2) == 0
    assert [(tmp_path / str(number)).read_text() for number in range(2)] == ["0 0 2 2 127.0.0.1", "1 1 2 2 127.0.0.1"]


def test_one_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlay.recipes.distributed.launch.GRACE", 0.3)
    began = time.monotonic()
    assert launch(script("import os, sys, time; sys.exit(2) if os.environ['RANK'] == '1' else time.sleep(60)"), 2) == 2
    assert time.monotonic() - began < 30


def test_a_crash_is_a_status_above_128(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlay.recipes.distributed.launch.GRACE", 0.3)
    assert launch(script("import os; os.kill(os.getpid(), 9)"), 2) == 128 + signal.SIGKILL


@pytest.mark.slow
def test_interrupt_reaches_every_process_once(tmp_path: Path) -> None:
    child = (
        "import os, pathlib, time\n"
        f"own = pathlib.Path({str(tmp_path)!r}, os.environ['RANK'])\n"
        "try:\n    own.touch()\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    own.write_text('stopped')\n"
    )
    parent = (
        "import sys; from inlay.recipes.distributed.launch import launch; "
        f"sys.exit(launch([sys.executable, '-c', {child!r}], 2))"
    )
    running = subprocess.Popen(script(parent))
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.05)
        assert running.poll() is None
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["stopped", "stopped"]


def test_batches_that_cannot_be_divided_are_refused() -> None:
    stages = {"only": replace(next(iter(STAGES.values())), batch_size=12, accumulate=2)}
    check_processes(RunSettings(output=Path("run"), devices=3), stages, 3)
    with pytest.raises(SettingsError, match=r"stage only: .* 12 and 2; .* a multiple of 8"):
        check_processes(RunSettings(output=Path("run"), devices=4), stages, 4)


def test_devices_that_contradict_torchrun_are_refused() -> None:
    with pytest.raises(SettingsError, match="leave --devices out under torchrun"):
        check_processes(RunSettings(output=Path("run"), devices=2), STAGES, 4)


def test_fewer_than_one_device_is_refused() -> None:
    with pytest.raises(SettingsError, match="devices: expected at least 1, got 0"):
        RunSettings(output=Path("run"), devices=0)


def test_batches_are_looked_at_before_any_process_starts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "llava", "--output", str(tmp_path / "run"), "--devices", "5"]) == 2
    assert "stage align" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_devices_train_the_miniature_as_one_does(tmp_path: Path) -> None:
    few = ["--stages.align.max_steps=3", "--stages.instruct.max_steps=3", "--evaluate=false", "--accelerator=cpu"]
    losses = {}
    for devices in (1, 2):
        output = tmp_path / str(devices)
        arguments = ["train", "llava", *few, f"--output={output}", f"--devices={devices}"]
        told = subprocess.run(
            [sys.executable, "-P", "-m", "inlay.recipes.cli", *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert told.stdout.count("stage instruct:") == 1  # one process speaks
        assert (output / "bundle").is_dir()
        with (output / "logs/instruct-csv/version_0/metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        losses[devices] = [float(row[name]) for name in ("loss", "val/loss") for row in rows if row[name]]
    assert losses[2] == pytest.approx(losses[1], rel=1e-5)
