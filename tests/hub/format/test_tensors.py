from __future__ import annotations

import contextlib
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from inlay.hub.errors import BundleError
from inlay.hub.format.header import MAX_HEADER_BYTES
from inlay.hub.format.tensors import parse, serialize
from inlay.hub.safety.file_type import known_file_type

Build = Callable[..., bytes]


def _entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8), **extra: object) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **extra}


EIGHT = bytes(8)
# name: (header, data, words that must be said)
HOSTILE: dict[str, tuple[object, bytes, str]] = {
    "array header": (b"[]      ", b"", "starts with '{'"),
    "leading space": (b' {"a": 1}', b"", "starts with '{'"),
    "bad json": (b'{"a": ', b"", "expected a JSON object"),
    "bad utf-8": (b'{"\xff": 1}', b"", "UTF-8"),
    "no tensors": ({}, b"", "1 to 4096 tensors, got 0"),
    "only metadata": ({"__metadata__": {"a": "b"}}, b"", "1 to 4096 tensors, got 0"),
    "too many tensors": (
        {f"t{i}": _entry("F32", [1], [4 * i, 4 * i + 4]) for i in range(5000)},
        bytes(20_000),
        "got 5000",
    ),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "t": _entry()}, EIGHT, "object of strings"),
    "metadata list": ({"__metadata__": [], "t": _entry()}, EIGHT, "object of strings"),
    "duplicate": (
        b'{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        EIGHT,
        "twice",
    ),
    "extra key": ({"t": _entry(code="os")}, EIGHT, "exactly dtype, shape and data_offsets"),
    "missing key": ({"t": {"dtype": "F32", "shape": [2]}}, EIGHT, "exactly dtype, shape and data_offsets"),
    "entry is text": ({"t": "F32"}, EIGHT, "exactly dtype"),
    "unknown dtype": ({"t": _entry("X1")}, EIGHT, "'X1'"),
    "dtype list": ({"t": _entry(["F32"])}, EIGHT, "dtype"),
    "double": ({"t": _entry("F64", [1])}, EIGHT, "'F64'"),
    "bytes": ({"t": _entry("U8", [8])}, EIGHT, "'U8'"),
    "bool": ({"t": _entry("BOOL", [8])}, EIGHT, "'BOOL'"),
    "float 8": ({"t": _entry("F8_E4M3", [8])}, EIGHT, "'F8_E4M3'"),
    "negative shape": ({"t": _entry(shape=[-2])}, EIGHT, "shape [-2]"),
    "zero shape": ({"t": _entry(shape=[0], offsets=[0, 0])}, b"", "shape [0]"),
    "float shape": ({"t": _entry(shape=[2.0])}, EIGHT, "shape [2.0]"),
    "bool shape": ({"t": _entry("F32", [True, 2])}, EIGHT, "shape [True, 2]"),
    "rank 9": ({"t": _entry(shape=[1] * 8 + [2])}, EIGHT, "up to 8 sizes"),
    "overflowing shape": ({"t": _entry(shape=[2**40, 2**40])}, EIGHT, "bytes for F32"),
    "huge shape": ({"t": _entry(shape=[2**20, 2**20], offsets=[0, 2**42])}, EIGHT, "bytes of data, got 8"),
    "shape against offsets": ({"t": _entry(shape=[3])}, EIGHT, "expected 12 bytes"),
    "reversed offsets": ({"t": _entry(offsets=[8, 0])}, EIGHT, "increasing"),
    "negative offsets": ({"t": _entry(offsets=[-8, 0])}, EIGHT, "increasing"),
    "three offsets": ({"t": _entry(offsets=[0, 4, 8])}, EIGHT, "two increasing"),
    "past the end": ({"t": _entry()}, bytes(4), "expected 8 bytes of data, got 4"),
    "trailing": ({"t": _entry()}, bytes(12), "expected 8 bytes of data, got 12"),
    "appended zip": ({"t": _entry()}, EIGHT + b"PK\x03\x04zip", "expected 8 bytes of data"),
    "hole": ({"t": _entry(offsets=[4, 12])}, bytes(12), "a gap"),
    "overlap": ({"a": _entry(), "b": _entry(offsets=[4, 12])}, bytes(12), "overlap"),
    "path as name": ({"../../x": _entry()}, EIGHT, "dotted words"),
    "dunder name": ({"a.__class__": _entry()}, EIGHT, "dotted words"),
    "empty word": ({"a..b": _entry()}, EIGHT, "dotted words"),
    "empty name": ({"": _entry()}, EIGHT, "dotted words"),
    "newline in name": ({"a\n": _entry()}, EIGHT, "dotted words"),
    "long name": ({"x" * 300: _entry()}, EIGHT, "at most 256"),
    "nan": (
        {"t": _entry()},
        struct.pack("<ff", 1.0, float("nan")),
        "t: expected finite numbers, got NaN or infinity in 1",
    ),
    "infinity": ({"t": _entry()}, struct.pack("<ff", float("-inf"), 1.0), "in 1 of 2"),
}


@pytest.mark.parametrize(("header", "data", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_and_named(safetensors_bytes: Build, header: object, data: bytes, told: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse(safetensors_bytes(header, data), "adapter.safetensors")
    assert caught.value.file == "adapter.safetensors"
    assert told in str(caught.value)


@pytest.mark.parametrize("length", [0, 7, 2**63, 2**64 - 1, 101 << 20, MAX_HEADER_BYTES + 1, 100])
def test_a_wrong_header_length_is_refused(safetensors_bytes: Build, length: int) -> None:
    with pytest.raises(BundleError, match=r"a.safetensors"):
        parse(safetensors_bytes({"t": _entry()}, EIGHT, length=length), "a.safetensors")


def test_every_truncation_is_refused() -> None:
    data = serialize({"a": torch.ones(3), "b": torch.ones(2, 2, dtype=torch.bfloat16)})
    for end in range(len(data)):
        with pytest.raises(BundleError):
            parse(data[:end], "x")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_called_a_pickle(protocol: int) -> None:
    with pytest.raises(BundleError, match=r"a Python pickle"):
        parse(pickle.dumps({"weight": [1.0] * 50}, protocol=protocol), "x")


def test_a_torch_checkpoint_is_called_a_zip_archive() -> None:
    stream = BytesIO()
    torch.save({"weight": torch.ones(2)}, stream)
    assert zipfile.is_zipfile(BytesIO(stream.getvalue()))
    with pytest.raises(BundleError, match=r"zip archive, as torch.save"):
        parse(stream.getvalue(), "x")


def test_a_git_lfs_pointer_is_called_by_its_name() -> None:
    with pytest.raises(BundleError, match=r"git lfs pull"):
        parse(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "x")


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580, 0x10280])
def test_a_header_length_that_looks_like_a_pickle_is_none(safetensors_bytes: Build, length: int) -> None:
    text = b'{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    data = safetensors_bytes(text.ljust(length), EIGHT)
    assert known_file_type(data) is None
    assert parse(data, "x")["t"].tolist() == [0.0, 0.0]


_DTYPE = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
_SHAPE = st.lists(st.integers(1, 4), max_size=4)
_WORD = st.from_regex(r"(?!__)[A-Za-z0-9_\-]{1,8}", fullmatch=True)
_NAMES = st.lists(_WORD, min_size=1, max_size=3).map(".".join)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(_NAMES, st.tuples(_SHAPE, _DTYPE), min_size=1, max_size=6), st.integers(0, 999))
def test_what_is_written_is_read_back_by_us_and_by_safetensors(shapes: dict[str, Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, (shape, dtype) in shapes.items()}
    data = serialize(tensors)
    for back in (parse(data, "x"), load(data)):
        assert back.keys() == tensors.keys()
        assert all(back[n].dtype == t.dtype and torch.equal(back[n], t) for n, t in tensors.items())
    assert serialize(dict(reversed(tensors.items()))) == data


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_file_gives_tensors_or_a_bundle_error(data: st.DataObject) -> None:
    good = bytearray(serialize({"a.weight": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.float16)}))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BundleError):
        assert 1 <= len(parse(bytes(good), "x")) <= 2


def test_what_safetensors_writes_is_read() -> None:
    tensors = {"b.weight": torch.randn(3, 2), "a": torch.ones(5, dtype=torch.bfloat16)}
    back = parse(save(tensors, {"format": "pt"}), "x")
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_tensors_that_share_memory_come_back_apart() -> None:
    whole = torch.arange(6.0)
    back = parse(serialize({"a": whole[:4], "b": whole[2:], "c": whole.view(2, 3).T}), "x")
    back["a"].zero_()
    assert back["b"].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert back["c"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]


def test_a_parameter_that_requires_grad_is_written() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    assert parse(serialize({"w": weight}), "x")["w"].tolist() == [1.0, 1.0]


BAD_TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "double": lambda: torch.ones(2, dtype=torch.float64),
    "integer": lambda: torch.ones(2, dtype=torch.int64),
    "empty": lambda: torch.ones(0),
    "meta": lambda: torch.ones(2, device="meta"),
    "sparse": lambda: torch.eye(2).to_sparse(),
    "nan": lambda: torch.tensor([float("nan")]),
}


@pytest.mark.parametrize("make", BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_what_could_not_be_read_is_not_written(make: Callable[[], torch.Tensor]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about sparse tensors on some builds
        tensor = make()
    with pytest.raises(BundleError, match=r"bad.name: expected"):
        serialize({"bad.name": tensor})


def test_no_tensors_are_not_written() -> None:
    with pytest.raises(BundleError, match=r"got 0"):
        serialize({})


def test_a_hostile_name_is_not_written() -> None:
    with pytest.raises(BundleError, match=r"dotted words"):
        serialize({"../x": torch.ones(1)})
