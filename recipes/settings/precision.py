"""Device and precision of a run: bfloat16 is faster only on hardware with bfloat16 matrix units.

``bf16-true`` keeps the frozen language model and its activations in bfloat16; the optimizer holds trained weights in
float32 and each step uses bfloat16 copies. (Lightning's own ``bf16-true`` rounds trained weights, which loses small
updates.) ``bf16-mixed`` keeps the frozen weights in float32 and casts them in every layer of every step.
"""

from __future__ import annotations

import time
from typing import Literal

import torch

from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import Precision

__all__ = ["Precision", "autocast_of", "device_of", "gemm_gain", "settle", "verdict"]

WORTH = 1.2
"""``auto`` chooses bfloat16 if a matrix product is at least this many times faster."""
SIDE = 768
"""Rows and columns of the timed matrices."""


def settle(asked: Precision, accelerator: str) -> Precision:
    """Resolve ``auto`` for the device of the run; any other precision is returned unchanged.

    Args:
        asked: the user's choice.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
    """
    if asked != "auto":
        return asked
    return "bf16-true" if gemm_gain(device_of(accelerator)) >= WORTH else "32-true"


def verdict(precision: Precision, accelerator: str) -> str:
    """A line about the speed of bfloat16 on this device if the run trains in it; empty otherwise."""
    if precision != "bf16-true":
        return ""
    gain = gemm_gain(device_of(accelerator))
    if not gain:
        return "precision bf16-true: this device has no bfloat16 instructions; 32-true is faster"
    return f"precision bf16-true: a matrix product takes 1/{gain:.1f} of its time in float32 here"


def autocast_of(precision: Precision) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's precision for ours: autocast casts trained weights to bfloat16, as frozen weights already are."""
    return "32-true" if precision == "32-true" else "bf16-mixed"


def gemm_gain(device: torch.device) -> float:
    """Speed-up of a matrix product in bfloat16 over float32; 0 without bfloat16 instructions.

    Args:
        device: device to time the product on; takes some milliseconds.
    """
    if not _has_bf16(device):
        return 0.0
    single = torch.randn(SIDE, SIDE, device=device)
    return _seconds(single) / _seconds(single.bfloat16())


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":  # MPS: bfloat16 autocast has not been measured.
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(bool(has) for name, has in capabilities.items() if "bf16" in name)


def _seconds(matrix: torch.Tensor) -> float:
    """The fastest of five products, after one for warm-up."""
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
    """The training device of ``auto``, ``cpu`` or ``gpu``; models, precision and Lightning all use it.

    Args:
        accelerator: ``auto`` uses a GPU if there is one: CUDA, or MPS on a Mac.

    Raises:
        SettingsError: ``gpu`` without a GPU.
    """
    if accelerator == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    if accelerator == "gpu":
        raise SettingsError(
            "accelerator: expected a GPU, and torch finds neither CUDA nor MPS; remove --accelerator to train on "
            "the CPU, or install a build of torch for this GPU"
        )
    return torch.device("cpu")
