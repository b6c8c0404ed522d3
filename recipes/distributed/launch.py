"""``--devices 2``: starts this program once for every device, with torchrun's agent.

Each process runs the user's script or command from its first line, so everything that the script registers (projectors,
encoders, objectives, systems) or builds (a backbone) exists in every process. The first program does not train: it
waits for the processes, and ends with their exit status. Several machines need torchrun itself, see the
page "Several devices" of the documentation.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import torch

from inlay.recipes.distributed.program import program
from inlay.recipes.distributed.ranks import started_with
from inlay.recipes.distributed.sharding import check_sharding
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.precision import device_of
from inlay.recipes.settings.run import RunSettings
from inlay.recipes.settings.stage import Stage

__all__ = ["check_processes", "launch", "start_again"]

HOST = "127.0.0.1"


def check_processes(run: RunSettings, stages: Mapping[str, Stage], processes: int) -> None:
    """Check that every stage can be divided among the processes, before they are started.

    Raises:
        SettingsError: a batch that cannot be divided, sharding that is not possible, too few GPUs, or torchrun and
            ``devices`` contradict each other.
    """
    if run.devices not in (1, processes):
        raise SettingsError(
            f"devices: {processes} processes were started by torchrun (WORLD_SIZE), but --devices is "
            f"{run.devices}; leave --devices out under torchrun"
        )
    for name, stage in stages.items():
        if stage.batch_size % (stage.accumulate * processes):
            raise SettingsError(
                f"stage {name}: expected a batch that accumulate times {processes} processes divides, got "
                f"{stage.batch_size} and {stage.accumulate}; set --stages.{name}.batch_size to a multiple of "
                f"{stage.accumulate * processes}"
            )
    device = device_of(run.accelerator).type
    if run.strategy == "fsdp":
        check_sharding(device, evaluate=run.evaluate, processes=processes)
    if processes > 1 and device == "mps":
        raise SettingsError(
            f"devices: a Mac has one GPU, got {processes}; add --accelerator cpu, or leave --devices out"
        )
    if device == "cuda" and started_with() == 1 and run.devices > torch.cuda.device_count():
        raise SettingsError(
            f"devices: expected at most {torch.cuda.device_count()} GPUs, got {run.devices}; for processes on the CPU "
            "add --accelerator cpu"
        )


def start_again(processes: int) -> NoReturn:
    """Run this program in several processes, and end with their exit status.

    Raises:
        SettingsError: the program cannot be started again, as in a notebook.
        SystemExit: always, because each process has run the rest of the program.
    """
    raise SystemExit(launch(program(processes), processes))


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in several processes, with torchrun's environment variables.

    Args:
        command: program and arguments.
        processes: their number.

    Returns:
        The exit status: 0 if all succeeded, 130 after Ctrl-C, otherwise that of the process that failed first.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{HOST}:0",
        run_id=uuid.uuid4().hex,
        max_restarts=0,
        local_addr=HOST,  # The host name may not resolve.
    )
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # The process that fails prints the cause itself.
    # All processes together have as many threads as one process would have.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    before = signal.getsignal(signal.SIGINT)
    try:
        elastic_launch(config, command[0])(*command[1:])
    except ChildFailedError as error:
        return _status(error)
    except SignalException as stop:
        return 128 + int(stop.sigval)
    finally:
        signal.signal(signal.SIGINT, before)
    return 0


def _status(error: Any) -> int:
    """The exit status of the process that failed first; prints a line about a process that was killed."""
    for number, failure in error.failures.items():
        if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            memory = "; the system sends it when memory runs out" if name == "SIGKILL" else ""
            print(f"process {number} was ended by {name}{memory}", file=sys.stderr)
            return 128 - int(failure.exitcode)
    _, failure = error.get_first_failure()
    return int(failure.exitcode if failure.exitcode >= 0 else 128 - failure.exitcode)
