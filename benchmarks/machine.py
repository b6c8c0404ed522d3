"""A description of the machine: processor, instructions, memory, and the measured rate of a matrix product."""

from __future__ import annotations

import os
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Clock
from inlay.recipes.settings.precision import gemm_gain

__all__ = ["gemm_rates", "machine", "sides_bf16", "versions"]

ISA = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx512_bf16": "avx512_bf16",
    "amx": "amx_tile",
    "amx_bf16": "amx_bf16",
}
"""Name in the results -> flag in /proc/cpuinfo."""
PACKAGES = ("torch", "transformers", "peft", "accelerate", "lightning", "diffusers", "trl", "inlay")


def versions() -> dict[str, str]:
    """Versions of Python and of the compared libraries; libraries that are not installed are left out."""
    import platform

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Plain values: processor, cores that this process may use, instructions, memory, GPU."""
    text = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(" ".join(re.findall(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)[:1]).split())
    memory = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "isa": {name: flag in flags for name, flag in ISA.items()},
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "load": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else None,
    }


def sides_bf16(device: torch.device | str) -> bool:
    """Whether both sides use bfloat16: a matrix product in it is at least 1.2 times faster."""
    return gemm_gain(torch.device(device)) >= 1.2


def gemm_rates(device: torch.device | str, seconds: float = 0.3) -> dict[str, float | None]:
    """The best FLOP per second of a square matrix product in float32 and, with instructions for it, in bfloat16.

    Args:
        device: the device.
        seconds: measuring time for each dtype.
    """
    place = torch.device(device)
    side = 8192 if place.type == "cuda" else 1024
    rates: dict[str, float | None] = {"float32": _rate(torch.randn(side, side, device=place), seconds)}
    rates["bfloat16"] = (
        _rate(torch.randn(side, side, device=place).bfloat16(), seconds) if gemm_gain(place) > 0 else None
    )
    return rates


def _rate(matrix: torch.Tensor, seconds: float) -> float:
    clock, best = Clock(matrix.device), 0.0
    matrix @ matrix
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or not best:
        clock.start()
        matrix @ matrix
        best = max(best, 2 * len(matrix) ** 3 / clock.read().wall)
    return best


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
