"""Precomputed features: one tensor ``[tokens, width]`` of a safetensors file.

They are for data without an encoder in inlay: sensors, molecules, EEG, satellites. The tensor is called ``features``,
or is the only one in its file. The header is read first, by the rules of bundles, and then only the bytes of this
tensor, so time and memory are bounded in advance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from inlay.adapters.media.budget import BUDGET, Budget
from inlay.adapters.media.untrusted import MediaError, opened
from inlay.hub.errors import BundleError
from inlay.hub.format.header import TensorSpec, header_end, read_header

__all__ = ["TENSOR", "Features", "feature_tensor", "load_features"]

TENSOR = "features"
"""Name of the tensor in a file with several."""
_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one medium."""

    values: Tensor
    """``[tokens, width]`` float32 on the CPU, finite."""
    name: str = "features"
    """The file, for errors."""


def load_features(source: Any, budget: Budget = BUDGET, root: Path | None = None) -> Features:
    """Read features.

    Args:
        source: a path, a tensor or array of two dimensions, or :class:`Features`.
        budget: ``memory`` limits the bytes of the tensor.
        root: folder that must contain the file.

    Raises:
        MediaError: not a safetensors file, no tensor or several without the name ``features``, another data type or
            number of dimensions, too large, or numbers that are not finite.

    Example:
        >>> load_features(np.zeros((2, 3))).values.shape
        torch.Size([2, 3])
    """
    if isinstance(source, Features):
        return source
    if isinstance(source, str | Path):
        with opened(source, root) as (file, name):
            spec, start = feature_tensor(file, name, budget)
            file.seek(start + spec.begin)
            data = bytearray(file.read(spec.end - spec.begin))
        if len(data) != spec.end - spec.begin:
            raise MediaError(f"{name}: the file was cut off while it was read; start again when it is complete")
        return _checked(torch.frombuffer(data, dtype=_TYPES[spec.dtype]).view(spec.shape), name)
    values = torch.from_numpy(source) if isinstance(source, np.ndarray) else source
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = f"{values.dtype}" if isinstance(values, Tensor) else type(source).__name__
        raise MediaError(f"features: expected a path, or a tensor or array of floating-point numbers, got {kind}")
    return _checked(values.detach().cpu(), "features")


def feature_tensor(file: BinaryIO, name: str, budget: Budget = BUDGET) -> tuple[TensorSpec, int]:
    """The tensor of an open file by its header, and the position where the data begin.

    Raises:
        MediaError: as in :func:`load_features`; the values are not checked.
    """
    size = budget.check_file(file, name)
    try:
        end = header_end(file.read(8), size, name)
        file.seek(0)
        tensors = read_header(file.read(end), size, name)
    except BundleError as error:
        advice = "; save the features as float32" if "expected dtype" in error.reason else ""
        raise MediaError(f"{name}: {f'{error.field}: ' if error.field else ''}{error.reason}{advice}") from None
    chosen = TENSOR if TENSOR in tensors or len(tensors) > 1 else next(iter(tensors))
    if chosen not in tensors:
        raise MediaError(
            f"{name}: expected a tensor named {TENSOR!r}, or a single tensor, got {', '.join(sorted(tensors)[:5])}"
        )
    spec = tensors[chosen]
    if spec.dtype not in _TYPES or len(spec.shape) != 2:
        raise MediaError(
            f"{name}: {chosen}: expected [tokens, width] of {', '.join(_TYPES)}, got {list(spec.shape)} of {spec.dtype}"
        )
    if 4 * spec.shape[0] * spec.shape[1] > budget.memory:
        raise MediaError(
            f"{name}: {chosen}: {list(spec.shape)} would take more than {budget.memory / 1e6:,.0f} MB of memory; store "
            "fewer tokens"
        )
    return spec, end


def _checked(values: Tensor, name: str) -> Features:
    if values.dim() != 2 or not values.numel():
        raise MediaError(f"{name}: expected [tokens, width] with at least one number, got {list(values.shape)}")
    values = values.float()
    if not values.isfinite().all():
        row, column = (int(place) for place in (~values.isfinite()).nonzero()[0])
        raise MediaError(f"{name}: token {row}, value {column}: expected a finite number, got {values[row, column]}")
    return Features(values, name)
