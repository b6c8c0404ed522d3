"""Devices and memory of this machine, and which data types make training faster on each device."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import torch

from inlay.recipes.settings.free_memory import free_memory, proc_bytes
from inlay.recipes.settings.precision import WORTH, gemm_gain

__all__ = ["Device", "devices"]


@dataclass(frozen=True)
class Device:
    """One device."""

    device: str
    """``cpu``, ``cuda:0``, ..."""
    name: str
    total_bytes: int
    free_bytes: int
    bfloat16_gain: float
    """Speed of a matrix product in bfloat16 relative to float32, measured; 0 without bfloat16 instructions."""

    @property
    def advice(self) -> str:
        """Which precision pays."""
        if not self.bfloat16_gain:
            return "no bfloat16 instructions: use float32 (--precision 32-true)"
        measured = f"bfloat16 has {self.bfloat16_gain:.1f} times the speed of float32"
        if self.bfloat16_gain >= WORTH:
            return f"{measured}: use it (--precision bf16-true)"
        return f"{measured}: use float32 (--precision 32-true)"


def devices() -> list[Device]:
    """The CPU and all GPUs; the measurement takes some milliseconds each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpu = torch.device("cpu")
    name = f"{_processor()}, {cores} cores, torch threads: {torch.get_num_threads()}"
    found = [Device("cpu", name, proc_bytes("/proc/meminfo", "MemTotal"), free_memory(cpu), round(gemm_gain(cpu), 2))]
    for number in range(torch.cuda.device_count()):
        gpu = torch.device("cuda", number)
        facts = torch.cuda.get_device_properties(gpu)
        found.append(Device(str(gpu), facts.name, facts.total_memory, free_memory(gpu), round(gemm_gain(gpu), 2)))
    return found


def _processor() -> str:
    """Name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
