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
from types import SimpleNamespace
from typing import Any

import pytest

from inlay.recipes.cli import main
from inlay.recipes.commands.train.command import main as train_main
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.distributed.failures import ConnectionLostError, OtherProcessError, raise_first_failure
from inlay.recipes.distributed.launch import check_processes, launch
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems import llava
from inlay.recipes.training.run import train

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
    told = [(tmp_path / str(number)).read_text() for number in range(2)]
    assert told == ["0 0 2 2 127.0.0.1", "1 1 2 2 127.0.0.1"]


def test_one_that_fails_ends_the_others() -> None:
    began = time.monotonic()
    assert launch(script("import os, sys, time; sys.exit(2) if os.environ['RANK'] == '1' else time.sleep(60)"), 2) == 2
    assert time.monotonic() - began < 30


def test_a_crash_is_a_status_above_128_and_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        launch(script("import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(60)"), 2)
        == 137
    )
    said = capfd.readouterr().err
    assert said == "process 1 was ended by SIGKILL; the system sends it when memory runs out\n"


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
    running = subprocess.Popen(script(parent), stderr=subprocess.PIPE, text=True)
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.05)
        assert running.poll() is None
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, "")
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["stopped", "stopped"]


FAILS = """
import os, sys, time
import torch, torch.distributed as dist
from inlay.recipes.distributed.launch import start_again
from inlay.recipes.distributed.ranks import joined, rank, started_with
if started_with() == 1:
    start_again(2)
with joined("cpu"):
    dist.barrier()
    if rank() == 1:
        raise ValueError("the disk is on fire")
    while True:
        dist.all_reduce(torch.ones(8))
"""


def test_of_processes_that_fail_together_the_first_alone_says_why(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    done = subprocess.run([sys.executable, "fails.py"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1].endswith("ValueError: the disk is on fire")
    assert done.stderr.count("Traceback") == 1
    assert "gloo" not in done.stderr


class Store(dict[str, bytes]):
    """As torch's, for one process."""

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        return self.setdefault(key, desired.encode())

    def check(self, keys: list[str]) -> bool:
        return keys[0] in self


GLOO = RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:7\nframe #0: ...")


def test_a_lost_connection_is_a_consequence_of_the_first_failure() -> None:
    store = Store()
    with pytest.raises(DataError, match="row 3"):
        raise_first_failure(store, 1, DataError("row 3 is bad"))
    for error in (GLOO, KeyboardInterrupt(), DataError("row 4 is bad")):
        with pytest.raises(OtherProcessError, match="process 0 stops with process 1: row 3 is bad") as raised:
            raise_first_failure(store, 0, error)
        assert raised.value.status == 2


def test_a_lost_connection_without_a_cause_is_one_line() -> None:
    with pytest.raises(ConnectionLostError, match=r"process 0 lost the connection .* closed by peer \S+$"):
        raise_first_failure(Store(), 0, GLOO)


def test_the_command_line_ends_without_a_word_where_another_process_has_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argv: object) -> int:
        raise OtherProcessError("process 0 stops with process 1: Ctrl-C", 130)

    monkeypatch.setattr("inlay.recipes.commands.bundles.diff.main", fail)
    assert main(["diff", "a", "b"]) == 130
    assert capsys.readouterr().err == ""


def test_more_processes_than_a_mac_has_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    with pytest.raises(SettingsError, match="a Mac has one GPU, got 2; add --accelerator cpu"):
        check_processes(RunSettings(output=Path("run"), devices=2), {}, 2)


def test_batches_that_cannot_be_divided_are_refused() -> None:
    stages = {"only": replace(next(iter(STAGES.values())), batch_size=12, accumulate=2)}
    check_processes(RunSettings(output=Path("run"), devices=3), stages, 3)
    with pytest.raises(SettingsError, match=r"stage only: .* 12 and 2; .* a multiple of 8"):
        check_processes(RunSettings(output=Path("run"), devices=4), stages, 4)


def test_the_command_with_a_backbone_made_by_hand_starts_its_program_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(processes: int) -> list[str]:
        assert processes == 2
        return [sys.executable, "-c", "import os; raise SystemExit(int(os.environ['WORLD_SIZE']) + 5)"]

    monkeypatch.setattr("inlay.recipes.distributed.launch.program", started)
    by_hand: Any = SimpleNamespace(
        llm=SimpleNamespace(source="mine")
    )  # Each process makes its own; this one loads and trains nothing.
    for call in (
        lambda: train_main(["llava", f"--output={tmp_path / 'run'}", "--devices=2", "--accelerator=cpu"], by_hand),
        lambda: train(
            Job(
                recipe=llava.recipe(),
                run=RunSettings(output=tmp_path / "run", devices=2, accelerator="cpu"),
                backbone=BackboneSettings(),
                data=DataSettings(),
            ),
            backbone=by_hand,
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            call()
        assert stop.value.code == 7
    assert not (tmp_path / "run").exists()


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
