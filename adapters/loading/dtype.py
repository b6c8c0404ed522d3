"""The dtype of frozen weights, and the meaning of ``"auto"`` on a device."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypeVar

import torch
from torch import nn

from inlay.adapters.loading.pretrained import BackboneError

__all__ = ["AutoDtype", "chosen_dtype", "computable"]

AutoDtype: TypeAlias = torch.dtype | Literal["auto"]
"""``"auto"``: the dtype of the file."""

M = TypeVar("M", bound=nn.Module)

_NAMES = ("float32", "bfloat16", "float16")


def chosen_dtype(dtype: str | torch.dtype, device: str | torch.device | None = None) -> AutoDtype:
    """Resolve a dtype by its name, and ``"auto"`` for a device.

    ``"auto"`` is bfloat16 on a CUDA GPU with bfloat16 units (compute capability 8.0 and later), and otherwise the dtype
    of the file. On the CPU a float16 file is converted to float32 afterwards, see :func:`computable`.

    Args:
        dtype: ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"``, or a floating-point dtype of torch.
        device: where the model will run; the CPU if not given.

    Returns:
        A dtype, or ``"auto"`` for that of the file.

    Raises:
        BackboneError: there is no such dtype.

    Example:
        >>> chosen_dtype("bfloat16"), chosen_dtype("auto", "cpu")
        (torch.bfloat16, 'auto')
    """
    if isinstance(dtype, str) and dtype in _NAMES:
        dtype = getattr(torch, dtype)
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1:
        return dtype
    if dtype != "auto":
        raise BackboneError(f"dtype: expected 'auto', {', '.join(map(repr, _NAMES))}, got {dtype!r}")
    place = torch.device(device or "cpu")
    if place.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(place):
            if torch.cuda.is_bf16_supported(including_emulation=False):
                return torch.bfloat16
    return "auto"


def computable(model: M, dtype: AutoDtype, device: str | torch.device | None = None) -> M:
    """Convert float16 weights to float32 if the dtype was ``"auto"`` and the model runs on the CPU.

    CPUs compute float16 in software or with float16 sums: slower than float32, and hidden states above 65,504 overflow.
    bfloat16 has the range of float32 and is not converted.

    Args:
        model: the loaded model, which is converted in place.
        dtype: the result of :func:`chosen_dtype`; an explicit float16 is kept.
        device: where the model will run; the CPU if not given.
    """
    left_open = dtype == "auto" and torch.device(device or "cpu").type == "cpu"
    if left_open and any(parameter.dtype == torch.float16 for parameter in model.parameters()):
        model.float()
    return model
