"""``--devices 2``: this program again, once for every device, started and watched by torchrun's own agent.

Each process runs the user's own script or command from its first line, so whatever the script registers (projectors,
encoders, objectives, systems) or builds by hand (a backbone) is there in every process. The program that was started
first takes no part in training: it waits, and ends as the processes ended. Several machines need torchrun itself, see
``docs/distributed.md``.
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
    """Check that every stage can be divided among so many processes, before any of them is started.

    Raises:
        SettingsError: a batch that cannot be divided, shards that cannot be made, too few GPUs, or torchrun and
            ``devices`` contradict each other.
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
    """Run this program in so many processes, and end as they end.

    Raises:
        SettingsError: there is no program that could be started again, as in a notebook.
        SystemExit: always: each process has run the rest of the program.
    """
    raise SystemExit(launch(program(processes), processes))


def launch(command: Sequence[str], processes: int) -> int:
    """Run a command in so many processes, each with its number in the way of torchrun.

    Args:
        command: program and arguments.
        processes: their number.

    Returns:
        The exit status: 0 if all ended well, that of the process that failed first otherwise, 130 after Ctrl-C.
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
        local_addr=HOST,  # The name of a machine need not be known to its resolver.
    )
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # The process that fails prints the cause itself.
    # As many threads in all as one process would have.
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
    """The exit status of the process that failed first; one that was killed is named, as it could not say so itself."""
    for number, failure in error.failures.items():
        if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            memory = "; the system does so when memory runs out" if name == "SIGKILL" else ""
            print(f"process {number} was ended by {name}{memory}", file=sys.stderr)
            return 128 - int(failure.exitcode)
    _, failure = error.get_first_failure()
    return int(failure.exitcode if failure.exitcode >= 0 else 128 - failure.exitcode)
