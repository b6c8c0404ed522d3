"""A GGUF file: what is written is what is read, and a difference is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inlay.adapters.export.gguf import gguf_file
from inlay.adapters.export.gguf.gguf_file import (
    Entry,
    GgufContent,
    GgufError,
    as_array,
    kind_of,
    read_back,
    write_gguf,
)

gguf = pytest.importorskip("gguf")

VALUES = np.random.default_rng(0).standard_normal((6, 64)).astype(np.float32)
HEADER = {"general.type": "model", "a.count": 7, "a.flag": True, "a.scale": 0.1, "a.mean": [0.5, 0.25], "a.layers": [3]}


def content(kind: Any = "f32", **changes: Any) -> GgufContent:
    tensors = {"w": Entry((6, 64), kind, lambda: VALUES), "b": Entry((64,), "f32", lambda: VALUES[0])}
    return replace(GgufContent("llama", HEADER, tensors), **changes)


@pytest.mark.parametrize(("kind", "most"), [("f32", 0.0), ("f16", 2e-3), ("q8_0", 2e-2)])
def test_header_and_tensors_come_back(tmp_path: Path, kind: Any, most: float) -> None:
    write_gguf(tmp_path / "x.gguf", content(kind))
    found = read_back(tmp_path / "x.gguf", content(kind))
    assert found.tensors == 2
    assert 0 <= found.largest_difference <= most
    reader = gguf.GGUFReader(tmp_path / "x.gguf")  # the reference
    assert {name: reader.fields[name].contents() for name in ("a.count", "a.flag", "a.layers")} == {
        "a.count": 7,
        "a.flag": True,
        "a.layers": [3],
    }
    stored = {tensor.name: tensor for tensor in reader.tensors}
    assert stored["w"].tensor_type.name == kind.upper()
    assert list(stored["w"].shape) == [64, 6]  # reversed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "qwen2"}, "general.architecture: expected 'qwen2', the file has 'llama'"),
        ({"header": {**HEADER, "a.count": 8}}, "a.count: expected 8, the file has 7"),
        ({"header": {**HEADER, "a.scale": 0.2}}, "a.scale: expected 0.2"),
        ({"header": {**HEADER, "a.more": "x"}}, "a.more: expected 'x', the file has None"),
        ({"tensors": {"w": Entry((6, 64), "f32", lambda: VALUES)}}, "missing or not expected: b"),
    ],
)
def test_a_difference_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    write_gguf(tmp_path / "x.gguf", content())
    with pytest.raises(GgufError, match=said):
        read_back(tmp_path / "x.gguf", content(**changes))


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_one_wrong_value_is_found(tmp_path: Path, kind: Any) -> None:
    write_gguf(tmp_path / "x.gguf", content(kind))
    wrong = VALUES.copy()
    wrong[3, 5] += 0.05
    tensors = {**content(kind).tensors, "w": Entry((6, 64), kind, lambda: wrong)}
    with pytest.raises(GgufError, match="w: values differ by"):
        read_back(tmp_path / "x.gguf", content(kind, tensors=tensors))


def test_another_type_is_found(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", content("f16"))
    with pytest.raises(GgufError, match=r"w: expected \[6, 64\] in f32, the file has \[6, 64\] in F16"):
        read_back(tmp_path / "x.gguf", content())


def test_not_a_number_is_found(tmp_path: Path) -> None:
    wrong = VALUES.copy()
    wrong[0, 0] = np.nan
    tensors = {**content().tensors, "w": Entry((6, 64), "f32", lambda: wrong)}
    write_gguf(tmp_path / "x.gguf", content(tensors=tensors))
    with pytest.raises(GgufError, match="w: values differ by nan"):
        read_back(tmp_path / "x.gguf", content(tensors=tensors))


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_text("mine")
    with pytest.raises(FileExistsError):
        write_gguf(tmp_path / "x.gguf", content())
    assert (tmp_path / "x.gguf").read_text() == "mine"


def test_a_tensor_of_another_shape_than_its_entry(tmp_path: Path) -> None:
    tensors = {"w": Entry((64, 6), "f32", lambda: VALUES)}
    with pytest.raises(GgufError, match=r"w: expected a tensor of shape \[64, 6\], got \[6, 64\]"):
        write_gguf(tmp_path / "x.gguf", content(tensors=tensors))


@pytest.mark.parametrize(
    ("shape", "kind", "stored"),
    [((64,), "q8_0", "f32"), ((4, 64), "q8_0", "q8_0"), ((4, 48), "q8_0", "f16"), ((4, 48), "f16", "f16")],
)
def test_vectors_and_odd_rows_are_not_quantised(shape: Any, kind: Any, stored: str) -> None:
    assert kind_of(shape, kind) == stored


@pytest.mark.parametrize("weight", [torch.zeros(2, 2, dtype=torch.int8), torch.zeros(2, 2, device="meta")])
def test_quantised_and_missing_weights_are_refused(weight: torch.Tensor) -> None:
    with pytest.raises(GgufError, match="expected weights in float32, float16 or bfloat16"):
        as_array(weight)


def test_the_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_file, "find_spec", lambda name: None)
    with pytest.raises(GgufError, match=r"pip install 'inlay\[gguf\]'"):
        write_gguf(tmp_path / "x.gguf", content())
