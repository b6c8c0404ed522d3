"""Files of features: which tensor is read, in which types, and which files are refused before they are read."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inlay.adapters.media.budget import Budget
from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.features import Features, load_features
from inlay.adapters.media.untrusted import MediaError


def written(folder: Path, **tensors: Any) -> Path:
    save_file(tensors, folder / "x.safetensors")
    return folder / "x.safetensors"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_single_tensor_is_read_whatever_its_name(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.randn(3, 5).to(dtype)
    found = load_features(written(tmp_path, eeg=values))
    assert found.values.dtype == torch.float32
    assert torch.equal(found.values, values.float())


def test_of_several_tensors_the_one_named_features_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, a=torch.zeros(9), features=torch.ones(2, 3), z=torch.zeros(4, 4, dtype=torch.float16))
    assert load_features(path).values.tolist() == [[1.0] * 3] * 2


def test_arrays_and_tensors_in_memory_are_features() -> None:
    assert load_features(np.ones((2, 3))).values.dtype == torch.float32
    assert load_features(torch.ones(2, 3)).values.shape == (2, 3)
    held = Features(torch.ones(1, 1))
    assert load_features(held) is held


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"a": torch.ones(2, 3), "b": torch.ones(2, 3)},
            "expected a tensor named 'features', or a single tensor, got a, b",
        ),
        ({"features": torch.ones(6)}, r"expected \[tokens, width\] of F32, BF16, F16, got \[6\] of F32"),
        ({"features": torch.ones(1, 2, 3)}, r"got \[1, 2, 3\] of F32"),
        ({"features": torch.ones(2, 3, dtype=torch.int8)}, r"got \[2, 3\] of I8"),
        ({"features": torch.ones(2, 3, dtype=torch.float64)}, "got 'F64'; save the features as float32"),
        ({"features": torch.tensor([[1.0, 2.0], [3.0, float("nan")]])}, "token 1, value 1: expected a finite number"),
        ({"features": torch.tensor([[float("inf")]])}, "token 0, value 0: expected a finite number, got inf"),
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, tensors: Any, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        load_features(written(tmp_path, **tensors))


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02}q", b"PK\x03\x04" + bytes(60), b"x" * 7, struct.pack("<Q", 1 << 60)]
)
def test_what_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(MediaError):
        load_features(path)


def test_a_claim_of_size_costs_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path, features=torch.zeros(100, 100))
    with pytest.raises(MediaError, match=r"\[100, 100\] would take more than 0 MB of memory"):
        load_features(path, Budget(memory=39_999))
    header = json.dumps({"f": {"dtype": "F32", "shape": [1 << 20, 1 << 10], "data_offsets": [0, 1 << 32]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(MediaError, match=r"expected 4294967296 bytes of data, got 0"):
        load_features(path)


@pytest.mark.parametrize(
    "source", [None, 3, [], torch.ones(2, 3, dtype=torch.long), "https://example.org/x.safetensors"]
)
def test_what_is_neither_a_path_nor_numbers_is_refused(source: object) -> None:
    with pytest.raises(MediaError, match="expected a path"):
        load_features(source)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"none\.safetensors: no such file"):
        load_features(tmp_path / "none.safetensors")


def test_features_in_memory_have_a_digest_of_their_numbers() -> None:
    one, two = torch.zeros(2, 3), torch.zeros(3, 2)
    assert media_digest("features", one) == media_digest("features", one.clone())
    assert len({media_digest("features", values) for values in (one, two, one + 1)}) == 3
