"""Matrices in int8 with one float32 scale per row: a quarter of the size of float32; the error is at most half a step.

Symmetric: ``w[i, ...] = scale[i] * q[i, ...]`` with ``q`` from -127 to 127, so zero stays zero and a row's largest
value has a relative error of at most 2^-15. A scale has 16 significant bits, rounded up, so ``127 * scale`` is exact in
float32, and quantising a dequantised matrix gives the same integers and scales again.

On disk ``<tensor>`` is int8 and ``<tensor>.scale`` is float32 ``[rows]``. No module has a parameter of the second name,
since a parameter has no children.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from inlay.hub.errors import BundleError
from inlay.hub.format.header import SCALE
from inlay.hub.format.manifest import PartSpec

__all__ = ["check_int8", "dequantised", "is_worth_it", "to_int8"]

LARGEST = 127
_DROPPED = (1 << 8) - 1
"""Mask of the bits of a float32's significand that a scale does not use."""


def is_worth_it(shape: torch.Size) -> bool:
    """Whether int8 saves space: at least a matrix, with rows much larger than their scales.

    Example:
        >>> is_worth_it(torch.Size([4096, 1024])), is_worth_it(torch.Size([4096]))
        (True, False)
    """
    return len(shape) >= 2 and shape[1:].numel() >= 32


def to_int8(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise ``[rows, ...]`` to the same shape in int8, and scales ``[rows]``.

    Example:
        >>> whole, scale = to_int8(torch.tensor([[0.0, 1.0, -2.0]]))
        >>> whole.tolist(), [round(float(value), 4) for value in scale]
        ([[0, 63, -127]], [0.0157])
    """
    flat = matrix.detach().to("cpu", torch.float32).flatten(1)
    largest = flat.abs().amax(dim=1)
    scale = (largest / LARGEST).clamp_min(torch.finfo(torch.float32).tiny * 256)
    scale = ((scale.view(torch.int32) + _DROPPED) & ~_DROPPED).view(torch.float32)
    whole = (flat / scale[:, None]).round_().clamp_(-LARGEST, LARGEST).to(torch.int8)
    return whole.view(matrix.shape), scale


def dequantised(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert every int8 tensor to float32 and drop its scales; the other tensors are not changed."""
    scales = {name + SCALE for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    return {
        name: tensor.float() * _along(tensors[name + SCALE], tensor) if tensor.dtype == torch.int8 else tensor
        for name, tensor in tensors.items()
        if name not in scales
    }


def _along(scale: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    return scale.view(-1, *([1] * (tensor.dim() - 1)))


def check_int8(file: str, part: str, tensors: Mapping[str, torch.Tensor], spec: PartSpec) -> int:
    """Check a part that is declared as int8: matrices with their scales, and bfloat16.

    Args:
        file: its name, for the error.
        part: the name of the part.
        tensors: the part's tensors.
        spec: the part's entry in the manifest.

    Returns:
        The number of parameters, without scales.

    Raises:
        BundleError: names the tensor.
    """
    scales = set()
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8:
            scales.add(name + SCALE)
            _check_pair(file, name, tensor, tensors.get(name + SCALE))
    for name, tensor in tensors.items():
        if name not in scales and tensor.dtype not in (torch.int8, torch.bfloat16):
            found = str(tensor.dtype).removeprefix("torch.")
            reason = f"expected int8 with a tensor {name + SCALE}, or bfloat16, in a part declared as int8, got {found}"
            raise BundleError(file, reason, field=name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size != spec.bytes:
        raise BundleError(file, f"expected {spec.bytes} bytes as declared in inlay.json, got {size}", field=part)
    return sum(tensor.numel() for name, tensor in tensors.items() if name not in scales)


def _check_pair(file: str, name: str, tensor: torch.Tensor, scale: torch.Tensor | None) -> None:
    rows = list(tensor.shape[:1])
    if scale is None:
        raise BundleError(file, f"expected its scales as {name + SCALE}, float32 {rows}, got none", field=name)
    if scale.dtype != torch.float32 or list(scale.shape) != rows or tensor.dim() < 2:
        found = f"{str(scale.dtype).removeprefix('torch.')} {list(scale.shape)}"
        reason = f"expected one float32 scale for each row of {list(tensor.shape)}, got {found}"
        raise BundleError(file, reason, field=name + SCALE)
    if not bool((scale > 0).all()):
        raise BundleError(file, f"expected scales above 0, got {float(scale.min())}", field=name + SCALE)
    if int(tensor.min()) < -LARGEST:
        raise BundleError(file, f"expected integers from -{LARGEST} to {LARGEST}, got -128", field=name)
