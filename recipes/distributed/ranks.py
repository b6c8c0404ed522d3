"""Rank and world size of the processes that train one model, and the exchange of small values.

The processes are started by ``devices: 2`` (:mod:`inlay.recipes.distributed.launch`) or by torchrun, and every process
runs the same program on its own rows of each batch. The functions here exchange counts and texts, on the CPU; DDP
exchanges the gradients. In a single process every function returns at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed.rendezvous import rendezvous

from inlay.hub.errors import InlayError
from inlay.recipes.distributed.failures import (
    OtherProcessError,
    ended_by_sigterm,
    raise_first_failure,
    silence_others,
)
from inlay.recipes.settings.precision import device_of

__all__ = [
    "OtherProcessError",
    "all_of",
    "all_rows",
    "first",
    "first_ahead",
    "first_shows",
    "is_first",
    "joined",
    "local_world",
    "rank",
    "started_with",
    "stop_together",
    "summed",
    "world",
]

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""Time limit on waiting for another process; long, because only the first one evaluates after each stage."""


def started_with() -> int:
    """The number of started processes, from torchrun's environment variable; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world() -> int:
    """The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world() > 1 else 1


@contextmanager
def joined(accelerator: str) -> Iterator[None]:
    """A context in which the processes are connected; it does nothing for a single process.

    Args:
        accelerator: ``cpu``, ``gpu`` or ``auto``.

    Raises:
        OtherProcessError: another process has failed, and raises the cause.
        ConnectionLostError: another process was killed or cannot be reached.
    """
    if started_with() == 1 or dist.is_initialized():
        yield
        return
    gpu = device_of(accelerator).type == "cuda"
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, number, count = next(iter(rendezvous("env://", timeout=PATIENCE)))
    # Texts and counts use gloo on GPUs too, so that they do not wait for kernels.
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    silence_others()
    try:
        with ended_by_sigterm():
            yield
    except (Exception, KeyboardInterrupt) as error:
        raise_first_failure(store, number, error)
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def first_shows(show: Callable[[str], None]) -> Callable[[str], None]:
    """A function that prints lines in the first process and discards them in the others."""
    return show if is_first() else lambda _: None


def is_first() -> bool:
    """Whether this is the process that writes, prints and evaluates."""
    return rank() == 0


def first(make: Callable[[], T]) -> T:
    """Call a function in the first process only, and return its result in every process.

    Args:
        make: a function whose result can be pickled.

    Raises:
        OtherProcessError: in the other processes, if the first failed with an ``InlayError``, which it raises itself.
    """
    if world() == 1:
        return make()
    result: list[T | None] = [None]
    failed: InlayError | None = None
    if is_first():
        try:
            result = [make()]
        except InlayError as error:
            failed = error
    stop_together(failed)
    dist.broadcast_object_list(result, src=0)
    return result[0]  # type: ignore[return-value]  # set by the first process


@contextmanager
def first_ahead() -> Iterator[None]:
    """A context that the first process runs first; then the others run it and use the files that it wrote."""
    if not is_first():
        stop_together(None)
    failed: InlayError | None = None
    try:
        yield
    except InlayError as error:
        failed = error
        raise
    finally:
        if is_first() and world() > 1:
            stop_together(failed)


def all_of(value: T) -> list[T]:
    """The values of all processes by rank; they must be picklable."""
    if world() == 1:
        return [value]
    values: list[T | None] = [None] * world()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]  # set by all_gather_object


def all_rows(tensor: Tensor) -> Tensor:
    """The rows of all processes by rank; gradients flow back to the process of each row.

    Args:
        tensor: ``[N, ...]``, of the same shape in every process.

    Returns:
        ``[processes * N, ...]``.
    """
    if world() == 1:
        return tensor
    apply: Any = _AllRows.apply
    joined_rows: Tensor = apply(tensor)
    return joined_rows


class _AllRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """Gather the rows in every process."""
        ctx.rows = len(tensor)
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pull: Tensor) -> Tensor:
        """The gradient of this process's rows, summed over all processes."""
        whole = pull.contiguous()
        dist.all_reduce(whole)
        return whole[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def stop_together(error: InlayError | None) -> None:
    """Raise an error in all processes if one has an error; every process has to call this.

    Raises:
        InlayError: the error of this process.
        OtherProcessError: another process has an error.
    """
    if world() > 1:
        failed = torch.tensor(world() if error is None else rank())
        dist.all_reduce(failed, dist.ReduceOp.MIN)
        if error is None and int(failed) < world():
            text = [""]
            dist.broadcast_object_list(text, src=int(failed))
            raise OtherProcessError(f"process {rank()} stops with process {int(failed)}: {text[0]}")
        if int(failed) < world():
            dist.broadcast_object_list([str(error)], src=int(failed))
    if error is not None:
        raise error


def summed(counts: Mapping[str, int]) -> dict[str, int]:
    """The sums of the counts over all processes, which have the same names in the same order.

    Example:
        >>> summed({"labels": 3})
        {'labels': 3}
    """
    if world() == 1:
        return dict(counts)
    total = torch.tensor(list(counts.values()))
    dist.all_reduce(total)
    return dict(zip(counts, total.tolist(), strict=True))
