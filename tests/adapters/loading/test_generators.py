"""A damaged folder of a generator is one clear error, and its dtype follows the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.adapters.loading.generators import load_generator
from inlay.adapters.loading.pretrained import BackboneError

pytest.importorskip("diffusers")


def cut(path: Path) -> None:
    held = path.read_bytes()
    path.write_bytes(held[: len(held) // 2])


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


WEIGHTS = "diffusion_pytorch_model.safetensors"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated unet": (lambda folder: cut(folder / "unet" / WEIGHTS), "no generator could be loaded"),
    "truncated vae": (lambda folder: cut(folder / "vae" / WEIGHTS), "no generator could be loaded"),
    "truncated text encoder": (
        lambda folder: cut(folder / "text_encoder" / "model.safetensors"),
        "truncated or damaged",
    ),
    "no unet": (lambda folder: (folder / "unet" / WEIGHTS).unlink(), "no generator could be loaded"),
    "wrong unet": (lambda folder: change(folder / "unet" / "config.json", block_out_channels="x"), "could be loaded"),
    "truncated index": (lambda folder: cut(folder / "model_index.json"), "no generator could be loaded"),
    "another pipeline": (lambda folder: change(folder / "model_index.json", _class_name="X"), "'X' are not supported"),
    "no scheduler": (lambda folder: change(folder / "model_index.json", scheduler=None), "expected a scheduler"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_one_clear_error(folder_of: Any, damage: str) -> None:
    folder = folder_of("image")
    spoil, message = DAMAGE[damage]
    spoil(folder)
    with pytest.raises(BackboneError, match=message) as caught:
        load_generator(folder)
    assert str(folder) in str(caught.value)


def test_float16_files_are_computed_in_float32_on_the_cpu(parts_of: Any, pipeline_of: Any, tmp_path: Path) -> None:
    pipeline_of("image", parts_of("image")).to(torch.float16).save_pretrained(tmp_path / "half")
    assert {parameter.dtype for parameter in load_generator(tmp_path / "half").parameters()} == {torch.float32}
    kept = load_generator(tmp_path / "half", dtype="float16")
    assert {parameter.dtype for parameter in kept.parameters()} == {torch.float16}
