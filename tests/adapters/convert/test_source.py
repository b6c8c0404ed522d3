"""Foreign files: hostile pickles, damaged files, indices that lead out of the folder."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from inlay.adapters.convert import ConvertError, Source
from inlay.adapters.loading.files.checkpoint import only_safetensors


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_pickle_that_runs_code_is_refused_with_its_class_and_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"model.mm_projector.weight": Hostile(f"touch {mark}")}, tmp_path / "mm_projector.bin")
    with pytest.raises(ConvertError, match=r"system, which could run code.*load it in a sandbox"):
        _ = Source(tmp_path / "mm_projector.bin").weights
    assert not mark.exists()


def test_a_pickle_of_another_class_is_refused_with_its_name(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}, "config": Fraction(1, 2)}, tmp_path / "x.pth")
    with pytest.raises(ConvertError, match=r"fractions\.Fraction.*save its tensors alone"):
        _ = Source(tmp_path / "x.pth").weights


def test_the_tensors_of_a_training_checkpoint_are_those_of_its_model(tmp_path: Path) -> None:
    beside = {"optimizer": {"state": {}}, "scaler": None, "epoch": 3, "config": {"run": {"lr": 1.0}}}
    torch.save({"model": {"llama_proj.bias": torch.ones(2)}, **beside}, tmp_path / "x.pth")
    assert list(Source(tmp_path / "x.pth").weights) == ["llama_proj.bias"]


def test_a_value_among_the_tensors_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": 3}, tmp_path / "x.bin")
    with pytest.raises(ConvertError, match=r"expected tensors by name, got int at 'b'"):
        _ = Source(tmp_path / "x.bin").weights


@pytest.mark.parametrize("name", ["../other.bin", "/etc/passwd", "a/b.bin"])
def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(ConvertError, match="expected names of files in the folder"):
        _ = Source(tmp_path).weights


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "b.bin"}}))
    with pytest.raises(ConvertError, match=r"names b\.bin, which is missing"):
        _ = Source(tmp_path).weights


def test_a_tensor_that_a_shard_does_not_hold_is_named(tmp_path: Path) -> None:
    save_file({"b": torch.ones(1)}, tmp_path / "one.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    with pytest.raises(ConvertError, match="expected the tensor a, which the index assigns"):
        _ = Source(tmp_path).weights["a"]


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x10" + bytes(20))
    with pytest.raises(ConvertError, match="truncated or damaged"):
        _ = Source(tmp_path).weights


def test_pickles_can_be_forbidden(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "x.bin")
    with only_safetensors(), pytest.raises(ConvertError, match="safetensors_only"):
        _ = Source(tmp_path / "x.bin").weights


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConvertError, match=r"config\.json: expected JSON"):
        _ = Source(tmp_path).config


def test_nothing_there_is_said_with_advice(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="hf download"):
        Source(tmp_path / "none")


def test_a_folder_without_weights_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"expected weights \(model\.safetensors"):
        _ = Source(tmp_path).weights
