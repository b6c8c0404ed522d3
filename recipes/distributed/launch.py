"""``inlay train ... --devices 2``: the same command, once for every device, started and watched as torchrun would.

Several machines need torchrun itself, see ``docs/distributed.md``. This process takes no part in training: it hosts
the store in which the others meet, hands Ctrl-C on, and ends them all when one of them fails.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import FrameType

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in its list of public names

from inlay.recipes.distributed.ranks import started_with
from inlay.recipes.distributed.sharding import check_sharding
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import device_of
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.settings.stage import Stage

__all__ = ["check_processes", "launch"]

HOST = "127.0.0.1"
GRACE = 15.0
"""Seconds that the others have to end by themselves, once one has failed or Ctrl-C was pressed."""
PAUSE = 0.1


def check_processes(run: RunSettings, stages: Mapping[str, Stage], processes: int) -> None:
    """See whether every stage can be divided among so many processes, before any of them is started.

    Raises:
        SettingsError: a batch that cannot be divided, shards that cannot be made, or torchrun and ``devices``
            contradict each other.
    """
    if run.devices not in (1, processes):
        raise SettingsError(
            f"devices: {processes} processes were started from outside (WORLD_SIZE), and --devices asks for "
            f"{run.devices}; leave --devices out under torchrun"
        )
    for name, stage in stages.items():
        if stage.batch_size % (stage.accumulate * processes):
            raise SettingsError(
                f"stage {name}: expected a batch that accumulate times {processes} processes divides, got "
                f"{stage.batch_size} and {stage.accumulate}; set --stages.{name}.batch_size to a multiple of "
                f"{stage.accumulate * processes}"
            )
    if run.strategy == "fsdp":
        check_sharding(device_of(run.accelerator).type, evaluate=run.evaluate, processes=processes)
    if run.accelerator == "gpu" and started_with() == 1 and run.devices > torch.cuda.device_count():
        raise SettingsError(f"devices: expected at most {torch.cuda.device_count()} GPUs, got {run.devices}")


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in so many processes.

    Args:
        command: program and arguments.
        processes: each is told its number in the way of torchrun.

    Returns:
        The exit status: 0 if all ended well, that of the first that failed otherwise.
    """
    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False, timeout=timedelta(minutes=5))
    shared = {
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    # As many threads in all as one process would have.
    shared.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    before = signal.signal(signal.SIGTERM, _end)
    children: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(processes):
            own = shared | {"RANK": str(number), "LOCAL_RANK": str(number)}
            # In a session of its own: Ctrl-C in a terminal reaches this process alone, which hands it on once.
            children.append(subprocess.Popen(list(command), env=own, start_new_session=True))  # noqa: S603  ours
        return _watch(children)
    except KeyboardInterrupt:
        for child in children:
            child.send_signal(signal.SIGINT)
        _wait(children, GRACE)
        return 130
    finally:
        _stop(children)
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _: FrameType | None) -> None:
    """SIGTERM ends the children too, by way of ``finally``."""
    raise SystemExit(128 + number)


def _watch(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Until all have ended, or one has failed and the others had time to say why."""
    while True:
        codes = [child.poll() for child in children]
        failed = [code for code in codes if code]
        if failed:
            _wait(children, GRACE)
            return failed[0] if failed[0] > 0 else 128 - failed[0]
        if all(code == 0 for code in codes):
            return 0
        time.sleep(PAUSE)


def _wait(children: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(child.poll() is None for child in children):
        time.sleep(PAUSE)


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End whoever still runs."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    _wait(children, GRACE)
    for child in children:
        if child.poll() is None:
            child.kill()
        child.wait()
