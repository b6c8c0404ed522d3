"""Strict safetensors, from and to bytes.

The format itself is safe: a length, a JSON header, raw numbers (https://github.com/huggingface/safetensors). Its reader
still takes duplicate names, unknown keys, empty tensors, any name and NaN; this module takes none of them, because a
bundle that two programs read in two ways is no bundle. Files are written byte-stable: equal tensors, equal bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from inlay.hub.errors import BundleError
from inlay.hub.format.files import MAX_TENSOR_BYTES
from inlay.hub.format.header import MAX_HEADER_BYTES, MAX_TENSORS, check_name, read_header
from inlay.hub.safety.text import shown

__all__ = ["parse", "serialize"]

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I8": torch.int8}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def parse(
    data: bytes, file: str, *, max_bytes: int = MAX_TENSOR_BYTES, allow_nonfinite: bool = False
) -> dict[str, torch.Tensor]:
    """Read all tensors from the bytes of a safetensors file.

    Args:
        data: the whole file.
        file: name for the error text.
        max_bytes: largest file that is parsed at all.
        allow_nonfinite: take NaN and infinity.

    Returns:
        Name to a tensor with memory of its own, in order of name.

    Raises:
        BundleError: names the tensor where there is one.
    """
    if len(data) > max_bytes:
        raise BundleError(file, f"expected at most {max_bytes} bytes, got {len(data)}")
    read_header(data, len(data), file)
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise BundleError(file, f"expected safetensors; {shown(str(error))}") from None
    if not allow_nonfinite:
        _check_finite(tensors, file)
    return {name: tensors[name] for name in sorted(tensors)}


def serialize(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None, *, file: str = "tensors"
) -> bytes:
    """Write tensors as safetensors; what :func:`parse` would refuse is refused here too.

    Tensors that share memory are written once each; nothing that was passed in is changed.

    Args:
        tensors: name to tensor, any shape with at least one element, float32, bfloat16, float16 or int8.
        metadata: text for the header.
        file: name for the error text.

    Raises:
        BundleError: names the tensor.

    Example:
        >>> data = serialize({"b": torch.ones(2), "a": torch.zeros(1, 3)})
        >>> {name: tuple(tensor.shape) for name, tensor in parse(data, "x").items()}
        {'a': (1, 3), 'b': (2,)}
    """
    if not 1 <= len(tensors) <= MAX_TENSORS:
        raise BundleError(file, f"expected 1 to {MAX_TENSORS} tensors, got {len(tensors)}")
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    chunks: list[bytes] = []
    offset = 0
    # Wide numbers first, so that every tensor starts at a multiple of its own item size.
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name]
        check_name(name, file)
        if tensor.dtype not in _CODES or tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
            reason = f"expected a dense, non-empty tensor of {_names(_CODES)}, got {_describe(tensor)}"
            raise BundleError(file, reason, field=name)
        chunks.append(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        end = offset + len(chunks[-1])
        header[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    _check_finite(tensors, file)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise BundleError(file, f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(text)}")
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


def _check_finite(tensors: Mapping[str, torch.Tensor], file: str) -> None:
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors.values()):
        if kind.is_floating_point:
            _check_finite_of({name: held.detach() for name, held in tensors.items() if held.dtype == kind}, file)


def _check_finite_of(tensors: Mapping[str, torch.Tensor], file: str) -> None:
    # One call for all of them: the largest magnitude of a tensor is finite where all of it is.
    largest = torch._foreach_norm(list(tensors.values()), ord=math.inf)
    if bool(torch.stack(largest).isfinite().all()):
        return
    for name, tensor in tensors.items():
        if bad := tensor.numel() - int(torch.isfinite(tensor).sum()):
            reason = f"expected finite numbers, got NaN or infinity in {bad} of {tensor.numel()}"
            raise BundleError(file, reason, field=name)


def _names(table: Mapping[Any, object]) -> str:
    return ", ".join(str(key).removeprefix("torch.") for key in table)


def _describe(tensor: torch.Tensor) -> str:
    dtype, layout = (str(item).removeprefix("torch.") for item in (tensor.dtype, tensor.layout))
    return f"{dtype} {list(tensor.shape)} ({layout}, {tensor.device})"
