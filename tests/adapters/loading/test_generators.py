"""A damaged folder of a generator is one clear error, and its dtype follows the device."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_layouts import write_snapshot
from safetensors.torch import load_file

from inlay.adapters.loading.files.checkpoint import PickleWarning, only_safetensors
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


def pickled(folder: Path) -> Path:
    """The same folder with a pickle in the place of every safetensors file."""
    for path in list(folder.rglob("*.safetensors")):
        name = "pytorch_model.bin" if path.stem == "model" else f"{path.stem}.bin"
        torch.save(load_file(path), path.with_name(name))
        path.unlink()
    return folder


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_pickled_components_load_with_the_same_weights(folder_of: Any, modality: str) -> None:
    expected = load_generator(folder_of(modality)).port.weights
    with pytest.warns(PickleWarning) as warned:
        found = load_generator(pickled(folder_of(modality)))
    assert found.port.weights == expected
    places = " ".join(str(warning.message) for warning in warned)
    assert all(part in places for part in ("/text_encoder:", "/unet:", "/vae:"))


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_pickle_that_could_run_code_is_refused(folder_of: Any, part: str, tmp_path: Path) -> None:
    folder = pickled(folder_of("image"))
    (file,) = (folder / part).glob("*.bin")
    torch.save({"weight": Runs(tmp_path / "ran")}, file)
    with (
        pytest.warns(PickleWarning) if part != "text_encoder" else nullcontext(),
        pytest.raises(BackboneError, match=rf"{part}: {file.name}: .*which could run code"),
    ):
        load_generator(folder)
    assert not (tmp_path / "ran").exists()


def test_safetensors_only_forbids_pickled_components(folder_of: Any) -> None:
    with only_safetensors(), pytest.raises(BackboneError, match="safetensors_only allows only safetensors files"):
        load_generator(pickled(folder_of("image")))


def test_a_generator_in_the_hubs_cache_loads_through_its_links(folder_of: Any, tmp_path: Path) -> None:
    snapshot = write_snapshot(folder_of("image"), tmp_path / "models--some--diffusion")
    assert load_generator(snapshot).port.source == "some/diffusion"


class Runs:
    """Unpickled without care it would create a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)
