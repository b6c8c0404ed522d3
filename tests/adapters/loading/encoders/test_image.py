"""Image encoders from folders: the right weights, and a damaged folder is one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil

from inlay.adapters.backbone import Backbone
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.adapters.loading.pretrained import BackboneError


@pytest.fixture
def folders(tmp_path: Path, backbone_of: Any) -> tuple[Backbone, Path, Path]:
    """A backbone, and the folders of its language model and of its image encoder."""
    backbone = backbone_of()
    backbone.llm.model.save_pretrained(tmp_path / "llm")
    backbone.llm.tokenizer.save_pretrained(tmp_path / "llm")
    backbone.encoder("image").model.save_pretrained(tmp_path / "clip")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor.save_pretrained(tmp_path / "clip")
    return backbone, tmp_path / "llm", tmp_path / "clip"


def test_folders_load_through_from_pretrained(folders: Any) -> None:
    backbone, llm, clip = folders
    loaded = Backbone.from_pretrained(llm, clip, dtype="float32")
    assert {name: port.weights for name, port in loaded.ports.items()} == {
        name: port.weights for name, port in backbone.ports.items()
    }
    assert loaded.ports["llm"].source == "llm"
    assert loaded.ports["llm"].tokenizer == backbone.ports["llm"].tokenizer


@pytest.mark.parametrize("name", ["no/such-model-anywhere", "missing-folder"])
def test_missing_model_is_one_clear_error(name: str) -> None:
    with pytest.raises(BackboneError, match=r"no language model could be loaded"):
        Backbone.from_pretrained(name, local_files_only=True)
    with pytest.raises(BackboneError, match=r"no image encoder could be loaded"):
        load_image_encoder(name, local_files_only=True)


def test_a_file_that_is_no_pickle_under_a_pickles_name_is_refused(folders: Any) -> None:
    _, llm, _ = folders
    (llm / "model.safetensors").rename(llm / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin: expected a torch file of tensors"):
        Backbone.from_pretrained(llm)


def test_missing_tensor_is_an_error_and_not_a_random_value(folders: Any) -> None:
    _, llm, _ = folders
    tensors = load_file(llm / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, llm / "model.safetensors", {"format": "pt"})
    with pytest.raises(BackboneError, match=r"1 tensors are missing .*model\.layers\.1\.mlp\.up_proj\.weight"):
        Backbone.from_pretrained(llm)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cut(path: Path) -> None:
    held = path.read_bytes()
    path.write_bytes(held[: len(held) // 2])


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated weights": (lambda folder: cut(folder / "model.safetensors"), "truncated or damaged"),
    "another width": (lambda folder: change(folder / "config.json", hidden_size=48), r"the file has \[.*24.*\]"),
    "no such heads": (lambda folder: change(folder / "config.json", num_attention_heads=5), "no .* encoder could be"),
    "text for a number": (lambda folder: change(folder / "config.json", image_size="big"), "image_size"),
    "truncated config": (lambda folder: cut(folder / "config.json"), "not a valid JSON file"),
    "no processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config|processor"),
    "no mean": (lambda folder: change(folder / "preprocessor_config.json", image_mean=3), "could be loaded"),
    "another family": (lambda folder: change(folder / "config.json", model_type="llama"), "'llama' are not supported"),
}


@pytest.mark.parametrize("load", [load_image_encoder, load_video_encoder])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_one_clear_error(folders: Any, damage: str, load: Any) -> None:
    clip = folders[2]
    spoil, message = DAMAGE[damage]
    spoil(clip)
    with pytest.raises(BackboneError, match=message):
        load(clip)


def test_an_option_that_the_encoder_lacks_is_refused(folders: Any) -> None:
    with pytest.raises(BackboneError, match=r"has no argument seconds; it has: layer, class_token"):
        load_image_encoder(folders[2], feature_options={"seconds": 1.0})


def test_weights_stay_what_they_are_in_the_dtype_that_was_asked_for(folders: Any) -> None:
    backbone, _, clip = folders
    loaded = load_image_encoder(clip, dtype="float32")
    pixels = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded.encode(pixels), backbone.encoder("image").encode(pixels))
