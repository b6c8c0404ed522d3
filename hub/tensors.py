"""Strict safetensors, from and to bytes.

The format itself is safe: a length, a JSON header, raw numbers (https://github.com/huggingface/safetensors). Its reader
still takes duplicate names, unknown keys, empty tensors, any name and NaN; this module takes none of them, because a
bundle that two programs read in two ways is no bundle. Files are written byte-stable: equal tensors, equal bytes.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from inlay.hub.errors import BundleError
from inlay.hub.strict_json import read_object
from inlay.hub.text import shown

__all__ = ["MAX_HEADER_BYTES", "MAX_TENSORS", "MAX_TENSOR_BYTES", "foreign_format", "parse", "serialize"]

MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 4096
MAX_TENSOR_BYTES = 4 << 30

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
# Dotted identifiers; no segment is empty or starts with two underscores. Names are compared, never walked or opened.
_NAME = re.compile(r"(?!__)[A-Za-z0-9_\-]+(?:\.(?!__)[A-Za-z0-9_\-]+)*")
_MAX_NAME = 256
_MAX_RANK = 8
_MAGIC = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"GGUF": "a GGUF model",
    b"version https://git-lfs": "a Git LFS pointer; run 'git lfs pull' in the repository",
}


def foreign_format(data: bytes) -> str | None:
    """Name the kind of file that ``data`` is when it is a well-known one that is not safetensors.

    Example:
        >>> import pickle
        >>> foreign_format(pickle.dumps({"weight": 1.0}))
        'a Python pickle, which can run code and is never opened'
    """
    # A safetensors header of 640 bytes starts like a pickle too, but then its length ends in five zero bytes.
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data[3:8] != bytes(5):
        return "a Python pickle, which can run code and is never opened"
    return next((what for magic, what in _MAGIC.items() if data.startswith(magic)), None)


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
    if what := foreign_format(data):
        raise BundleError(file, f"expected safetensors, got {what}")
    _check_layout(data, _header(data, file), file)
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise BundleError(file, f"expected safetensors; {shown(str(error))}") from None
    if not allow_nonfinite:
        for name, tensor in tensors.items():
            _check_finite(name, tensor, file)
    return {name: tensors[name] for name in sorted(tensors)}


def serialize(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None, *, file: str = "tensors"
) -> bytes:
    """Write tensors as safetensors; what :func:`parse` would refuse is refused here too.

    Tensors that share memory are written once each; nothing that was passed in is changed.

    Args:
        tensors: name to tensor, any shape with at least one element, float32, bfloat16 or float16.
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
        _check_name(name, file)
        if tensor.dtype not in _CODES or tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel():
            reason = f"expected a dense, non-empty tensor of {_names(_CODES)}, got {_describe(tensor)}"
            raise BundleError(file, reason, field=name)
        _check_finite(name, tensor, file)
        chunks.append(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        end = offset + len(chunks[-1])
        header[name] = {"dtype": _CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise BundleError(file, f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {len(text)}")
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


def _header(data: bytes, file: str) -> dict[str, Any]:
    if len(data) < 8:
        raise BundleError(file, f"expected safetensors, got a file of {len(data)} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER_BYTES:
        raise BundleError(file, f"expected safetensors with a header of at most {MAX_HEADER_BYTES} bytes, got {length}")
    if length > len(data) - 8:
        raise BundleError(file, f"truncated: expected a header of {length} bytes, got {len(data) - 8}")
    text = data[8 : 8 + length]
    if not text.startswith(b"{"):
        raise BundleError(file, "expected safetensors, whose header starts with '{'")
    return read_object(text, file, max_bytes=MAX_HEADER_BYTES)


def _check_layout(data: bytes, header: dict[str, Any], file: str) -> None:
    (length,) = struct.unpack("<Q", data[:8])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BundleError(file, "expected an object of strings", field="__metadata__")
    if not 1 <= len(header) <= MAX_TENSORS:
        raise BundleError(file, f"expected 1 to {MAX_TENSORS} tensors, got {len(header)}")
    spans = sorted(_span(name, entry, file) for name, entry in header.items())
    filled = 0
    for begin, end, name in spans:
        if begin != filled:
            raise BundleError(file, f"expected its data at byte {filled}, got {begin}: a hole or overlap", field=name)
        filled = end
    if filled != len(data) - 8 - length:
        raise BundleError(file, f"expected {filled} bytes of data, got {len(data) - 8 - length}")


def _span(name: str, entry: object, file: str) -> tuple[int, int, str]:
    _check_name(name, file)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BundleError(file, "expected exactly dtype, shape and data_offsets", field=name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise BundleError(file, f"expected dtype {_names(_DTYPES)}, got {shown(dtype)}", field=name)
    if not _integers(shape) or len(shape) > _MAX_RANK or any(size < 1 for size in shape):
        raise BundleError(file, f"expected up to {_MAX_RANK} sizes from 1 on, got shape {shown(shape)}", field=name)
    if not _integers(offsets) or len(offsets) != 2 or not 0 <= offsets[0] < offsets[1]:
        raise BundleError(file, f"expected two rising data_offsets, got {shown(offsets)}", field=name)
    expected = math.prod(shape) * _DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != expected:
        reason = f"expected {expected} bytes for {dtype} {shape}, got {offsets[1] - offsets[0]}"
        raise BundleError(file, reason, field=name)
    return offsets[0], offsets[1], name


def _integers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _check_name(name: str, file: str) -> None:
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        reason = f"expected a tensor name of dotted words, at most {_MAX_NAME} characters"
        raise BundleError(file, reason, field=shown(name))


def _check_finite(name: str, tensor: torch.Tensor, file: str) -> None:
    bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    if bad:
        raise BundleError(
            file, f"expected finite numbers, got NaN or infinity in {bad} of {tensor.numel()}", field=name
        )


def _names(table: Mapping[Any, object]) -> str:
    return ", ".join(str(key).removeprefix("torch.") for key in table)


def _describe(tensor: torch.Tensor) -> str:
    dtype, layout = (str(item).removeprefix("torch.") for item in (tensor.dtype, tensor.layout))
    return f"{dtype} {list(tensor.shape)} ({layout}, {tensor.device})"
