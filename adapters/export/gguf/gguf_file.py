"""A GGUF file: header values and tensors, written one tensor at a time and read back.

GGUF is the format of llama.cpp: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A tensor is named, quantised
and written before the next one is loaded, so that a 7B model needs no second copy in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from inlay.adapters.export.target import ExportError

__all__ = [
    "Array",
    "Entry",
    "GgufContent",
    "GgufError",
    "Kind",
    "Readback",
    "Value",
    "as_array",
    "read_back",
    "write_gguf",
]

Array: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = str | bool | int | float | Sequence[int] | Sequence[float]
Kind: TypeAlias = Literal["f32", "f16", "q8_0"]
"""How a tensor is stored."""
_BLOCK = 32
"""Values of one block of Q8_0, which share a scale."""


class GgufError(ExportError):
    """A GGUF file cannot be written, or differs from the values that were written."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    shape: tuple[int, ...]
    """In numpy's order; the file has it reversed."""
    kind: Kind
    load: Callable[[], Array]
    """Its values in float32, computed when they are written."""


@dataclass(frozen=True)
class GgufContent:
    """The content of a file."""

    architecture: str
    header: Mapping[str, Value]
    """Key -> value: bool, uint32 of an int, float32 of a float, text, or an array of int32 or float32."""
    tensors: Mapping[str, Entry]


@dataclass(frozen=True)
class Readback:
    """How a file compares with its content."""

    tensors: int
    largest_difference: float
    """Of any value: 0 unless a tensor is stored with fewer bits."""


def as_array(tensor: Tensor) -> Array:
    """A tensor in float32 on the CPU.

    Raises:
        GgufError: no floating-point tensor, such as a quantised weight.
    """
    if tensor.is_meta or not tensor.is_floating_point():
        raise GgufError(
            f"expected weights in float32, float16 or bfloat16, got {tensor.dtype} on {tensor.device}; load the "
            "language model without quantisation"
        )
    values: Array = tensor.detach().float().cpu().numpy()
    return values


def kind_of(shape: Sequence[int], kind: Kind) -> Kind:
    """The kind of a tensor in a file of a kind: vectors stay float32, and Q8_0 needs rows of whole blocks."""
    if len(shape) < 2:
        return "f32"
    return "f16" if kind == "q8_0" and shape[-1] % _BLOCK else kind


def write_gguf(path: Path, content: GgufContent) -> None:
    """Write a new file.

    Args:
        path: the file; it must not exist.
        content: its header and tensors.

    Raises:
        GgufError: the package ``gguf`` is missing, or a tensor has another shape than its entry.
        FileExistsError: there is such a file.
    """
    gguf = _package()
    with path.open("xb"):
        pass
    writer = gguf.GGUFWriter(path, content.architecture)
    try:
        for key, value in content.header.items():
            _add(writer, key, value)
        for name, entry in content.tensors.items():
            stored = _type(entry.kind)
            plain = np.dtype(np.float16 if entry.kind == "f16" else np.float32)
            if entry.kind == "q8_0":
                shape = gguf.quant_shape_to_byte_shape(entry.shape, stored)
                writer.add_tensor_info(name, shape, np.dtype(np.uint8), int(np.prod(shape)), stored)
            else:
                size = int(np.prod(entry.shape)) * plain.itemsize
                writer.add_tensor_info(name, entry.shape, plain, size, stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, entry in content.tensors.items():
            writer.write_tensor_data(gguf.quants.quantize(_loaded(name, entry), _type(entry.kind)))
    finally:
        writer.close()


def read_back(path: Path, content: GgufContent) -> Readback:
    """Compare a file with its content: every key, every name, shape and type, every value.

    Raises:
        GgufError: the first difference beyond the rounding of a tensor's kind.
    """
    gguf = _package()
    reader = gguf.GGUFReader(path)
    expected = {"general.architecture": content.architecture, **content.header}
    for key, value in expected.items():
        field = reader.fields.get(key)
        found = None if field is None else field.contents()
        if not _same(found, value):
            raise GgufError(f"{path.name}: {key}: expected {value!r}, the file has {found!r}")
    found_tensors = {tensor.name: tensor for tensor in reader.tensors}
    if found_tensors.keys() != content.tensors.keys():
        other = sorted(found_tensors.keys() ^ content.tensors.keys())
        raise GgufError(f"{path.name}: tensors are missing or not expected: {', '.join(other[:5])}")
    largest = 0.0
    for name, entry in content.tensors.items():
        tensor = found_tensors[name]
        shape = tuple(int(size) for size in reversed(tensor.shape))
        if shape != entry.shape or tensor.tensor_type != _type(entry.kind):
            raise GgufError(
                f"{path.name}: {name}: expected {list(entry.shape)} in {entry.kind}, the file has {list(shape)} in "
                f"{tensor.tensor_type.name}"
            )
        values = _loaded(name, entry)
        difference = np.abs(gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape) - values)
        if not bool((difference <= _rounding(values, entry.kind)).all()):
            raise GgufError(f"{path.name}: {name}: values differ by {float(difference.max()):.4g} from the model's")
        largest = max(largest, float(difference.max(initial=0.0)))
    return Readback(len(found_tensors), largest)


def _package() -> Any:
    if find_spec("gguf") is None:
        raise GgufError("GGUF files are written by the package gguf, which is not installed: pip install 'inlay[gguf]'")
    import gguf

    return gguf


def _type(kind: Kind) -> Any:
    types = _package().GGMLQuantizationType
    return {"f32": types.F32, "f16": types.F16, "q8_0": types.Q8_0}[kind]


def _loaded(name: str, entry: Entry) -> Array:
    values = np.ascontiguousarray(entry.load(), dtype=np.float32)
    if values.shape != entry.shape:
        raise GgufError(f"{name}: expected a tensor of shape {list(entry.shape)}, got {list(values.shape)}")
    return values


def _rounding(values: Array, kind: Kind) -> Array:
    """The largest error of each value."""
    if kind == "f32":
        return np.zeros_like(values)
    if kind == "f16":  # subnormal numbers have fewer bits
        return np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)
    blocks = np.abs(values).reshape(-1, _BLOCK).max(axis=1, keepdims=True)
    # Half a step of 127, and a scale in float16.
    bound: Array = np.broadcast_to(blocks * (0.51 / 127 + 2.0**-10), (len(blocks), _BLOCK)).reshape(values.shape)
    return bound + 2.0**-17


def _add(writer: Any, key: str, value: Value) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, list(value))


def _same(found: Any, expected: Value) -> bool:
    if isinstance(expected, float):
        return isinstance(found, float) and bool(np.float32(expected) == np.float32(found))
    if isinstance(expected, (str, bool, int)):
        return bool(found == expected)
    return found is not None and np.array_equal(np.asarray(found, np.float32), np.asarray(expected, np.float32))
