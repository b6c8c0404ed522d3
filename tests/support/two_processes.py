"""Run a function in two processes that know one another, as ``inlay train --devices 2`` would start them.

They are forks of the test, so that nothing is imported again; what comes back is what each process gave, or its error.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # not in its list of public names

from inlay.recipes.distributed.ranks import joined

__all__ = ["in_two"]

LONGEST = 60.0


def in_two(work: Callable[[], Any], *, processes: int = 2) -> list[Any]:
    """What ``work`` gives in each process; an exception comes back as an object."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(minutes=1))
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    children = [
        context.Process(target=_run, args=(work, number, processes, store.port, pipes[number][1]))
        for number in range(processes)
    ]
    with warnings.catch_warnings():
        # Python 3.12 and later warn of every fork of a process that has threads; a child here starts none.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        for child in children:
            child.start()
    try:
        return [
            _read(receive) if receive.poll(LONGEST) else TimeoutError(f"process {number} hangs")
            for number, (receive, _) in enumerate(pipes)
        ]
    finally:
        for child in children:
            child.join(5)
            child.kill()


def _read(receive: Any) -> Any:
    return pickle.loads(receive.recv_bytes())


def _run(work: Callable[[], Any], number: int, processes: int, port: int, send: Any) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    try:
        with joined("cpu"):
            result = work()
    except Exception as error:
        result = RuntimeError(f"{type(error).__name__}: {error}")
    # As bytes: a tensor would be shared with a process that ends here.
    send.send_bytes(pickle.dumps(result))
