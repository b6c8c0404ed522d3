"""Peak memory between two points of a process."""

from __future__ import annotations

import ctypes
import gc
import resource
from pathlib import Path

import torch

__all__ = ["peak_bytes", "reset_peak"]


def reset_peak(device: torch.device) -> int:
    """Start to record the peak.

    Returns:
        Bytes in use now: of the process on a CPU, of torch's tensors on a GPU.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return int(torch.cuda.memory_allocated(device))
    _release_unused()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is then that of the whole process
        return peak_bytes(device)
    return _proc("/proc/self/status", "VmRSS")


def _release_unused() -> None:
    """Return freed memory to the system if the C library supports it; reused memory would not count as added."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def peak_bytes(device: torch.device) -> int:
    """The peak of bytes in use since :func:`reset_peak`."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _proc("/proc/self/status", "VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _proc(file: str, name: str) -> int:
    """A line of Linux's tables in ``/proc``, in bytes; 0 if it is missing."""
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return int(found.split()[1]) << 10 if found else 0
