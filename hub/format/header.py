"""The header of a safetensors file: names, types, shapes and offsets of its tensors, without torch and tensor bytes.

``inlay inspect`` reads only this part of a bundle on a hub. Everything that the format forbids is refused, and so are
duplicate names, unknown keys, empty tensors and unusual names, which the format's own reader accepts.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from inlay.hub.errors import BundleError
from inlay.hub.safety.file_type import known_file_type
from inlay.hub.safety.strict_json import read_object
from inlay.hub.safety.text import shown

__all__ = [
    "ITEM_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_TENSORS",
    "SCALE",
    "TensorSpec",
    "check_name",
    "header_end",
    "parameters_in",
    "read_header",
]

MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 4096
ITEM_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "I8": 1}
"""Bytes of one number of each data type that a bundle may hold."""
SCALE = ".scale"
"""Suffix of the name of an int8 tensor's scales, one per row."""

# Dotted identifiers; no segment is empty or starts with two underscores. Names are only compared: they never become
# attributes or paths.
_NAME = re.compile(r"(?!__)[A-Za-z0-9_\-]+(?:\.(?!__)[A-Za-z0-9_\-]+)*")
_MAX_NAME = 256
_MAX_RANK = 8


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor in a file."""

    dtype: str
    """``F32``, ``BF16``, ``F16`` or ``I8``."""
    shape: tuple[int, ...]
    begin: int
    """Offset of the first byte, counted from the end of the header."""
    end: int
    """Offset after the last byte."""


def header_end(data: bytes, size: int, file: str) -> int:
    """Return the offset of the header's end, from the first bytes of a file.

    Args:
        data: the file, or at least its first eight bytes.
        size: bytes of the whole file.
        file: its name, for the error.

    Raises:
        BundleError: not safetensors, or a header above the limit.
    """
    if what := known_file_type(data):
        raise BundleError(file, f"expected safetensors, got {what}")
    if size < 8 or len(data) < 8:
        raise BundleError(file, f"expected safetensors, got a file of {min(size, len(data))} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER_BYTES:
        raise BundleError(file, f"expected safetensors with a header of at most {MAX_HEADER_BYTES} bytes, got {length}")
    if length > size - 8:
        raise BundleError(file, f"truncated: expected a header of {length} bytes, got {size - 8}")
    return 8 + int(length)


def read_header(data: bytes, size: int, file: str) -> dict[str, TensorSpec]:
    """Read the tensor entries of a file.

    Args:
        data: the file, or at least its beginning up to :func:`header_end`.
        size: bytes of the whole file.
        file: its name, for the error.

    Raises:
        BundleError: names the tensor where there is one.
    """
    end = header_end(data, size, file)
    text = data[8:end]
    if len(text) < end - 8:
        raise BundleError(file, f"truncated: expected a header of {end - 8} bytes, got {len(text)}")
    if not text.startswith(b"{"):
        raise BundleError(file, "expected safetensors, whose header starts with '{'")
    header = read_object(text, file, max_bytes=MAX_HEADER_BYTES)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BundleError(file, "expected an object of strings", field="__metadata__")
    if not 1 <= len(header) <= MAX_TENSORS:
        raise BundleError(file, f"expected 1 to {MAX_TENSORS} tensors, got {len(header)}")
    specs = {name: _spec(name, entry, file) for name, entry in header.items()}
    filled = 0
    for name, spec in sorted(specs.items(), key=lambda item: item[1].begin):
        if spec.begin != filled:
            reason = f"expected its data at byte {filled}, got {spec.begin}: a gap or an overlap"
            raise BundleError(file, reason, field=name)
        filled = spec.end
    if filled != size - end:
        raise BundleError(file, f"expected {filled} bytes of data, got {size - end}")
    return specs


def parameters_in(specs: Mapping[str, TensorSpec]) -> int:
    """Count the parameters of a file; the scales of int8 tensors are not parameters.

    Example:
        >>> parameters_in({"w": TensorSpec("I8", (2, 8), 8, 24), "w.scale": TensorSpec("F32", (2,), 0, 8)})
        16
    """
    scales = {name + SCALE for name, spec in specs.items() if spec.dtype == "I8"}
    return sum(math.prod(spec.shape) for name, spec in specs.items() if name not in scales)


def check_name(name: str, file: str) -> None:
    """Check that a tensor name consists of dotted words.

    Raises:
        BundleError: it does not.
    """
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        reason = f"expected a tensor name of dotted words, at most {_MAX_NAME} characters"
        raise BundleError(file, reason, field=shown(name))


def _spec(name: str, entry: object, file: str) -> TensorSpec:
    check_name(name, file)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BundleError(file, "expected exactly dtype, shape and data_offsets", field=name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise BundleError(file, f"expected dtype {', '.join(ITEM_BYTES)}, got {shown(dtype)}", field=name)
    if not _integers(shape) or len(shape) > _MAX_RANK or any(size < 1 for size in shape):
        raise BundleError(file, f"expected up to {_MAX_RANK} sizes from 1 on, got shape {shown(shape)}", field=name)
    if not _integers(offsets) or len(offsets) != 2 or not 0 <= offsets[0] < offsets[1]:
        raise BundleError(file, f"expected two increasing data_offsets, got {shown(offsets)}", field=name)
    expected = math.prod(shape) * ITEM_BYTES[dtype]
    if offsets[1] - offsets[0] != expected:
        reason = f"expected {expected} bytes for {dtype} {shape}, got {offsets[1] - offsets[0]}"
        raise BundleError(file, reason, field=name)
    return TensorSpec(dtype, tuple(shape), *offsets)


def _integers(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)
