"""Pickled weights: read as tensors alone, named in a warning, refused on request; a pickle of more is refused."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_layouts import LAYOUTS, save_pickles, write_clip, write_snapshot, write_vicuna, write_vit
from tiny_encoders import make_vision
from tiny_media_encoders import VIDEO_PROCESSOR, make_audio, make_video_model
from transformers import VideoMAEImageProcessorPil

from inlay.adapters.backbone import Backbone
from inlay.adapters.loading.encoders.families import ProcessorWarning
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.several import load_encoders
from inlay.adapters.loading.files.checkpoint import PickleWarning, only_safetensors
from inlay.adapters.loading.language import load_language
from inlay.adapters.loading.pretrained import BackboneError

IDS = torch.tensor([[5, 6, 7, 8]])
PIXELS = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_language_model_loads_from_a_folder_laid_out_as_on_the_hub(tmp_path: Path, layout: str) -> None:
    model = LAYOUTS[layout](tmp_path / "llm")
    with pytest.warns(PickleWarning, match=r"no safetensors files, so the weights are read from .*pytorch_model"):
        language = load_language(tmp_path / "llm")
    mask = torch.ones_like(IDS)
    with torch.no_grad():
        if layout == "flan-t5":
            found, expected = language.logits(language.embed(IDS), mask, target=IDS), model(input_ids=IDS, labels=IDS)
        else:
            found, expected = language.logits(language.embed(IDS), mask), model(IDS)
    torch.testing.assert_close(found, expected.logits)
    assert language.tokenizer.decode(language.tokenizer("two cats").input_ids, skip_special_tokens=True) == "two cats"


def test_a_clip_of_two_towers_loads_from_a_pickle(tmp_path: Path) -> None:
    model = write_clip(tmp_path)
    with pytest.warns(PickleWarning, match="pytorch_model.bin"):
        encoder = load_image_encoder(tmp_path, feature_options={"layer": -2})
    with torch.no_grad():
        expected = model.vision_model(PIXELS, output_hidden_states=True).hidden_states[-2][:, 1:]
    torch.testing.assert_close(encoder.encode(PIXELS), expected)


@pytest.mark.filterwarnings("ignore::inlay.adapters.loading.files.checkpoint.PickleWarning")
def test_a_clip_without_preprocessor_config_gets_its_familys_mean(tmp_path: Path) -> None:
    write_clip(tmp_path, processor=False)
    with pytest.warns(ProcessorWarning, match=r"no preprocessor_config\.json.* CLIPImageProcessor"):
        encoder: Any = load_image_encoder(tmp_path)
    assert encoder.mean == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert encoder.image_size == 16


@pytest.mark.filterwarnings("ignore::inlay.adapters.loading.files.checkpoint.PickleWarning")
def test_a_vit_with_a_classifier_and_no_pooler_loads_with_one_digest(tmp_path: Path) -> None:
    model = write_vit(tmp_path)
    encoder: Any = load_image_encoder(tmp_path, feature_options={"layer": "last"})
    with torch.no_grad():
        expected = model.vit(PIXELS).last_hidden_state
    found = encoder.encode(PIXELS)
    torch.testing.assert_close(found, expected[:, -found.shape[1] :])
    torch.manual_seed(99)
    assert load_image_encoder(tmp_path, feature_options={"layer": "last"}).port.weights == encoder.port.weights


def test_safetensors_are_preferred_and_give_no_warning(tmp_path: Path) -> None:
    model = write_vicuna(tmp_path)
    model.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"not read")
    assert load_language(tmp_path).family == "llama"


@pytest.mark.filterwarnings("ignore::inlay.adapters.loading.files.checkpoint.PickleWarning")
def test_a_snapshot_of_the_hubs_cache_loads_through_its_links(tmp_path: Path) -> None:
    write_vicuna(tmp_path / "llm")
    snapshot = write_snapshot(tmp_path / "llm", tmp_path / "models--lmsys--vicuna-7b--v1.5")
    language = load_language(snapshot)
    assert language.tokenizer("hi").input_ids[0] == 1
    assert (language.source, language.port.revision) == ("lmsys/vicuna-7b--v1.5", "a" * 40)


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_an_encoder_in_the_hubs_cache_is_named_as_on_the_hub(tmp_path: Path, modality: Any) -> None:
    if modality == "video":
        model, processor = make_video_model("videomae"), VideoMAEImageProcessorPil(**VIDEO_PROCESSOR)
    else:
        model, processor = make_vision("dinov2") if modality == "image" else make_audio("wav2vec2")
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    (encoder,) = load_encoders({modality: tmp_path / "saved"}).values()
    digest = encoder.port.weights
    snapshot = write_snapshot(tmp_path / "saved", tmp_path / "hub" / "models--some--model")
    (encoder,) = load_encoders({modality: snapshot}).values()
    assert (encoder.port.source, encoder.port.revision) == ("some/model", "a" * 40)
    assert encoder.port.weights == digest


def test_safetensors_only_refuses_pickles(tmp_path: Path) -> None:
    write_vicuna(tmp_path)
    with pytest.raises(BackboneError, match=r"the weights are a pickle .*safetensors_only allows"):
        Backbone.from_pretrained(tmp_path, safetensors_only=True)
    with only_safetensors(), only_safetensors(False), pytest.raises(BackboneError, match="safetensors_only"):
        load_language(tmp_path)


class Runs:
    """Unpickled without care it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    write_vicuna(tmp_path)
    shard = tmp_path / "pytorch_model-00002-of-00002.bin"
    torch.save({"a": Runs(tmp_path / "ran")}, shard, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BackboneError, match=r"00002-of-00002\.bin: .*posix\.mkdir, which could run code"):
        load_language(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("held", "name"),
    [
        ({"args": argparse.Namespace(lr=1)}, r"argparse\.Namespace"),
        ({"model": {"a": torch.zeros(1)}}, r"builtins\.dict at 'model'|builtins\.dict at model"),
        ({"epoch": 3}, r"builtins\.int at"),
        ([torch.zeros(1)], "tensors by name, got list"),
    ],
)
def test_a_pickle_of_more_than_tensors_is_refused_with_the_class(tmp_path: Path, held: Any, name: str) -> None:
    save_pickles(write_vicuna(tmp_path), tmp_path)
    torch.save(held, tmp_path / "pytorch_model.bin")
    with pytest.raises(BackboneError, match=rf"pytorch_model\.bin: expected .*{name}"):
        load_language(tmp_path)


def test_a_truncated_pickle_is_one_clear_error(tmp_path: Path) -> None:
    save_pickles(write_vicuna(tmp_path), tmp_path)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin: .*it is damaged"):
        load_language(tmp_path)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/passwd", "a/b.bin", ""])
def test_a_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_vicuna(tmp_path)
    index = {"metadata": {}, "weight_map": {"model.embed_tokens.weight": name}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(BackboneError, match="expected names of files in the folder"):
        load_language(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_vicuna(tmp_path)
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(BackboneError, match=r"names pytorch_model-00002-of-00002\.bin, which is missing"):
        load_language(tmp_path)


@pytest.mark.parametrize(
    "source", ["./nosuch", "/nosuch/at/all", "~/nosuch", "no such", "a/b/c", "nosuch/", Path("nosuch")]
)
def test_a_path_without_a_folder_is_called_so(source: str | Path) -> None:
    with pytest.raises(BackboneError, match=r"no such folder \(for the language model\)"):
        load_language(source)
