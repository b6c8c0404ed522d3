"""Weights in one file or in several."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from inlay.adapters.export.shards import write_shards


def test_small_weights_are_one_file(tmp_path: Path) -> None:
    held = {"a": torch.ones(2), "b": torch.zeros(3)}
    assert write_shards(held, tmp_path) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert torch.equal(load_file(tmp_path / "model.safetensors")["a"], held["a"])


def test_large_weights_are_numbered_files_with_an_index(tmp_path: Path) -> None:
    held = {name: torch.full((4,), float(index)) for index, name in enumerate("abc")}
    write_shards(held, tmp_path, shard_bytes=32)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 48
    assert index["weight_map"]["a"] == index["weight_map"]["b"] == "model-00001-of-00002.safetensors"
    assert torch.equal(load_file(tmp_path / index["weight_map"]["c"])["c"], held["c"])
    assert len(list(tmp_path.iterdir())) == 3


def test_tensors_that_share_memory_are_written(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    write_shards({"a": whole[:3], "b": whole[1:4]}, tmp_path)
    assert load_file(tmp_path / "model.safetensors")["b"].tolist() == [1, 2, 3]


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_shards({"a": torch.ones(2)}, tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
