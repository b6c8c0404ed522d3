"""Free memory of a GPU, or of the machine and its container."""

from __future__ import annotations

from pathlib import Path

import torch

__all__ = ["free_memory", "proc_bytes"]


def free_memory(device: torch.device) -> int:
    """Free bytes on a device; 0 if unknown."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    free = proc_bytes("/proc/meminfo", "MemAvailable")
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (most := limit.read_text().strip()).isdigit():
        free = min(free, int(most) - int(used.read_text()))
    return free


def proc_bytes(file: str, name: str) -> int:
    """A line of a ``/proc`` table, in bytes; 0 if it is missing."""
    path = Path(file)
    lines = path.read_text().splitlines() if path.exists() else []
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return int(found.split()[1]) << 10 if found else 0
