"""Strict safetensors, from and to bytes.

The format itself is safe: a length, a JSON header, raw numbers (https://github.com/huggingface/safetensors). Its reader
accepts duplicate names, unknown keys, empty tensors, any name and NaN; this module refuses them, so that every program
reads the same tensors from a bundle. Equal tensors give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from inlay.hub.errors import BundleError
from inlay.hub.format.header import MAX_TENSORS, check_name, header_end, read_header
from inlay.hub.safety.text import shown

__all__ = ["parse", "serialize"]

_DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16", torch.int8: "int8"}


def parse(data: bytes, file: str) -> dict[str, torch.Tensor]:
    """Read all tensors from the bytes of a safetensors file.

    Args:
        data: the whole file.
        file: its name, for the error.

    Returns:
        The tensors by name, sorted; each has its own memory.

    Raises:
        BundleError: the file is damaged or not strict; names the tensor where there is one.
    """
    read_header(data, len(data), file)
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise BundleError(file, f"expected safetensors; {shown(str(error))}") from None
    _check_finite(tensors, file)
    return {name: tensors[name] for name in sorted(tensors)}


def serialize(tensors: Mapping[str, torch.Tensor], *, file: str = "tensors") -> bytes:
    """Write tensors as safetensors; everything that :func:`parse` refuses is refused here too.

    Tensors that share memory are written separately; the arguments are not changed.

    Args:
        tensors: name to tensor, any shape with at least one element, float32, bfloat16, float16 or int8.
        file: its name, for the error.

    Raises:
        BundleError: names the tensor.

    Example:
        >>> data = serialize({"b": torch.ones(2), "a": torch.zeros(1, 3)})
        >>> {name: tuple(tensor.shape) for name, tensor in parse(data, "x").items()}
        {'a': (1, 3), 'b': (2,)}
    """
    if not 1 <= len(tensors) <= MAX_TENSORS:
        raise BundleError(file, f"expected 1 to {MAX_TENSORS} tensors, got {len(tensors)}")
    copies: dict[str, torch.Tensor] = {}
    for name, tensor in sorted(tensors.items()):
        check_name(name, file)
        if tensor.dtype not in _DTYPES or tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
            reason = f"expected a dense, non-empty tensor of {', '.join(_DTYPES.values())}, got {_describe(tensor)}"
            raise BundleError(file, reason, field=name)
        # Cloned, because safetensors refuses tensors that share memory.
        copies[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    _check_finite(copies, file)
    written = save(copies, {"format": "pt"})  # as PEFT and transformers expect
    header_end(written, len(written), file)
    return written


def _check_finite(tensors: Mapping[str, torch.Tensor], file: str) -> None:
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors.values()):
        if kind.is_floating_point:
            _check_finite_of({name: held.detach() for name, held in tensors.items() if held.dtype == kind}, file)


def _check_finite_of(tensors: Mapping[str, torch.Tensor], file: str) -> None:
    # One call for all tensors: the largest magnitude of a tensor is finite exactly if all its numbers are.
    largest = torch._foreach_norm(list(tensors.values()), ord=math.inf)
    if bool(torch.stack(largest).isfinite().all()):
        return
    for name, tensor in tensors.items():
        if bad := tensor.numel() - int(torch.isfinite(tensor).sum()):
            reason = f"expected finite numbers, got NaN or infinity in {bad} of {tensor.numel()}"
            raise BundleError(file, reason, field=name)


def _describe(tensor: torch.Tensor) -> str:
    dtype, layout = (str(item).removeprefix("torch.") for item in (tensor.dtype, tensor.layout))
    return f"{dtype} {list(tensor.shape)} ({layout}, {tensor.device})"
