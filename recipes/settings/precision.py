"""In which precision to train: bfloat16 pays where there are matrix units for it, and costs where there are none.

``bf16-true`` is the frozen language model in bfloat16, its activations in bfloat16, and everything that trains in
float32 in the optimizer, with bfloat16 copies for each step. (Lightning's own ``bf16-true`` would round what trains;
small steps are lost then.) ``bf16-mixed`` leaves the frozen weights in float32 and rounds them anew in every layer of
every step.
"""

from __future__ import annotations

import time
from typing import Literal

import torch

from inlay.recipes.settings.run import Precision

__all__ = ["Precision", "autocast_of", "device_of", "gemm_gain", "settle", "verdict"]

WORTH = 1.2
"""A matrix product has to be so many times faster before activations are rounded for it."""
SIDE = 768
"""Of the matrices that are timed."""


def settle(asked: Precision, accelerator: str) -> Precision:
    """``auto`` as one of the others; the others as they are.

    Args:
        asked: what the user chose.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
    """
    if asked != "auto":
        return asked
    return "bf16-true" if gemm_gain(device_of(accelerator)) >= WORTH else "32-true"


def verdict(precision: Precision, accelerator: str) -> str:
    """A line for the user where bfloat16 was asked for; empty where it was not."""
    if precision != "bf16-true":
        return ""
    gain = gemm_gain(device_of(accelerator))
    if not gain:
        return "precision bf16-true: this device has no bfloat16 instructions, 32-true would be faster"
    return f"precision bf16-true: a matrix product takes 1/{gain:.1f} of its time in float32 here"


def autocast_of(precision: Precision) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's precision for ours: autocast makes the copies of what trains, and finds the rest rounded already."""
    return "32-true" if precision == "32-true" else "bf16-mixed"


def gemm_gain(device: torch.device) -> float:
    """How many times faster a product of matrices is in bfloat16 than in float32; 0 without instructions for it.

    Args:
        device: where; the product is timed once, which takes some milliseconds.
    """
    if not _has_bf16(device):
        return 0.0
    single = torch.randn(SIDE, SIDE, device=device)
    return _seconds(single) / _seconds(single.bfloat16())


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(bool(has) for name, has in capabilities.items() if "bf16" in name)


def _seconds(matrix: torch.Tensor) -> float:
    """The fastest of five, after one to warm up."""
    times = []
    for _ in range(6):
        _wait(matrix.device)
        start = time.perf_counter()
        matrix @ matrix
        _wait(matrix.device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_of(accelerator: str) -> torch.device:
    """Where ``auto``, ``cpu`` or ``gpu`` trains."""
    gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
    return torch.device("cuda") if gpu else torch.device("cpu")
