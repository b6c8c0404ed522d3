"""Sides in one process, in turn A B B A, and the ratio of their medians; bytes that a backward pass waits for."""

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
    """Seconds of one repetition. A side that returns this has read the clock itself, without its own set-up."""

    wall: float
    cpu: float


class Clock:
    """Reads both clocks; ``device`` is waited for first, since a GPU works on behind a call."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.start()

    def start(self) -> None:
        """From now on."""
        self._wait()
        self._from = time.perf_counter(), time.process_time()

    def read(self) -> Spent:
        """Until now."""
        self._wait()
        return Spent(time.perf_counter() - self._from[0], time.process_time() - self._from[1])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass
class Times:
    """Seconds of one side's repetitions, by the clock on the wall and of the processor."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, spent: Spent) -> None:
        """One more repetition."""
        self.wall.append(spent.wall)
        self.cpu.append(spent.cpu)

    def extend(self, further: Times) -> None:
        """The repetitions of another time."""
        self.wall += further.wall
        self.cpu += further.cpu

    @property
    def median(self) -> float:
        """Of the wall clock."""
        return statistics.median(self.wall)

    @property
    def cpu_median(self) -> float:
        """Of the processor."""
        return statistics.median(self.cpu)

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median."""
        return (max(self.wall) - min(self.wall)) / self.median


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


def in_turn(sides: Sequence[Callable[[], object]], rounds: int, device: torch.device | str = "cpu") -> list[Times]:
    """``rounds`` times A B ... B A, so that every pair of sides takes turns as A B B A; all have been warmed up.

    Args:
        sides: each does its work once; one that returns :class:`Spent` has measured itself.
        rounds: each gives two repetitions a side.
        device: where they work.
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
    """``rounds`` times A B B A; both sides have been warmed up."""
    first, second = in_turn((a, b), rounds)
    return Timed((first.wall, second.wall), (first.cpu, second.cpu))


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of all tensors that autograd keeps for the backward pass, those of the module's own left out."""
    with kept_bytes([module]) as kept:
        loss = forward()
    del loss
    return kept.total
