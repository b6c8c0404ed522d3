"""Times of two or more sides that alternate in one process, and the bytes saved for a backward pass."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from inlay.recipes.training.memory_plan import kept_bytes

__all__ = ["Clock", "Spent", "Timed", "Times", "abba", "in_turn", "saved_bytes"]


class Spent(NamedTuple):
    """Seconds of one repetition. A side may return this if it measures itself without its set-up."""

    wall: float
    cpu: float


class Clock:
    """Measures wall time and CPU time; synchronises the device first, since GPU calls are asynchronous."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.start()

    def start(self) -> None:
        """Start to measure."""
        self._wait()
        self._from = time.perf_counter(), time.process_time()

    def read(self) -> Spent:
        """The time since the start."""
        self._wait()
        return Spent(time.perf_counter() - self._from[0], time.process_time() - self._from[1])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass
class Times:
    """Wall and CPU seconds of the repetitions of one side."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, spent: Spent) -> None:
        """Add a repetition."""
        self.wall.append(spent.wall)
        self.cpu.append(spent.cpu)

    def extend(self, further: Times) -> None:
        """Add the repetitions of another object."""
        self.wall += further.wall
        self.cpu += further.cpu

    @property
    def median(self) -> float:
        """Median of the wall seconds."""
        return statistics.median(self.wall)

    @property
    def cpu_median(self) -> float:
        """Median of the CPU seconds."""
        return statistics.median(self.cpu)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (max(self.wall) - min(self.wall)) / self.median


@dataclass
class Timed:
    """Wall and CPU seconds of both sides; CPU seconds are less affected by other processes."""

    wall: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    cpu: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    @property
    def ratio(self) -> float:
        """Median of A over median of B: how many times faster B is, in wall time."""
        return statistics.median(self.wall[0]) / statistics.median(self.wall[1])

    @property
    def cpu_ratio(self) -> float:
        """The same ratio of CPU seconds."""
        return statistics.median(self.cpu[0]) / statistics.median(self.cpu[1])

    @property
    def spread(self) -> float:
        """The larger of both sides' (slowest - fastest) / median."""
        return max((max(side) - min(side)) / statistics.median(side) for side in self.wall)


def in_turn(sides: Sequence[Callable[[], object]], rounds: int, device: torch.device | str = "cpu") -> list[Times]:
    """Run all sides ``rounds`` times as A B ... B A, so that each pair alternates as A B B A; after a warm-up of all.

    Args:
        sides: functions that do their work once; the result counts as the time if it is a :class:`Spent`.
        rounds: each round gives two repetitions per side.
        device: device to synchronise.
    """
    times = [Times() for _ in sides]
    clock = Clock(device)
    for _ in range(rounds):
        for place in (*range(len(sides)), *reversed(range(len(sides)))):
            clock.start()
            said = sides[place]()
            spent = clock.read()
            times[place].add(said if isinstance(said, Spent) else spent)
    return times


def abba(a: Callable[[], object], b: Callable[[], object], rounds: int) -> Timed:
    """Run two sides ``rounds`` times as A B B A, after a warm-up of both."""
    first, second = in_turn((a, b), rounds)
    return Timed((first.wall, second.wall), (first.cpu, second.cpu))


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of all tensors that autograd saves for the backward pass, without the weights of the module."""
    with kept_bytes([module]) as kept:
        loss = forward()
    del loss
    return kept.total
