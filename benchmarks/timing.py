"""Two sides in one process, in turn A B B A, and the ratio of their medians; bytes that a backward pass waits for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["Timed", "abba", "saved_bytes"]


@dataclass
class Timed:
    """Seconds of both sides, wall clock and of the processor; the latter are less disturbed by neighbours."""

    wall: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    cpu: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    @property
    def ratio(self) -> float:
        """Median of A over median of B: how many times faster B is, by the clock on the wall."""
        return statistics.median(self.wall[0]) / statistics.median(self.wall[1])

    @property
    def cpu_ratio(self) -> float:
        """The same of processor seconds."""
        return statistics.median(self.cpu[0]) / statistics.median(self.cpu[1])

    @property
    def spread(self) -> float:
        """The larger of both sides' (slowest - fastest) / median."""
        return max((max(side) - min(side)) / statistics.median(side) for side in self.wall)


def abba(a: Callable[[], object], b: Callable[[], object], rounds: int) -> Timed:
    """``rounds`` times A B B A; both sides have been warmed up."""
    sides, timed = (a, b), Timed()
    for _ in range(rounds):
        for side in (0, 1, 1, 0):
            wall, cpu = time.perf_counter(), time.process_time()
            sides[side]()
            timed.wall[side].append(time.perf_counter() - wall)
            timed.cpu[side].append(time.process_time() - cpu)
    return timed


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of all tensors that autograd keeps for the backward pass, those of the module's own left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    del loss
    return sum(kept.values())
