"""Encoders of one's own: what is checked when one is registered, and that a backbone loads it by its model type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from inlay.adapters.backbone import Backbone
from inlay.adapters.encoders import (
    ENCODERS,
    AnyVisionEncoder,
    EncoderError,
    FrameEncoder,
    VisionEncoder,
    register_encoder,
)
from inlay.adapters.loading.encoders.audio import load_audio_encoder
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.encoders.video import load_video_encoder
from inlay.adapters.loading.pretrained import BackboneError
from inlay.hub.format.manifest import PortSpec

pytestmark = pytest.mark.usefixtures("own_registrations")


class Own(torch.nn.Module):
    """Of any modality; remembers what the loader passed."""

    family, tokens, width = "own", 2, 3
    dtype = torch.float32

    def __init__(self, **passed: Any) -> None:
        super().__init__()
        self.passed = passed
        self.weight = torch.nn.Parameter(torch.ones(3), requires_grad=False)

    @classmethod
    def from_pretrained(cls, source: Path, *, loud: bool = False, **passed: Any) -> Own:
        return cls(source=source, loud=loud, **passed)

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @property
    def port(self) -> PortSpec:
        return PortSpec(kind="encoder", family="own", width=3, tokens=2, weights="sha256:" + "0" * 64)

    def preprocess(self, media: Any, geometry: Any) -> torch.Tensor:
        return torch.zeros(len(media), 1)

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(inputs), 2, 3)


class SiglipEncoder(VisionEncoder):
    """A model of transformers, registered in one line."""

    def __init__(self, model: Any, processor: Any, *, layer: Any = "last", **facts: Any) -> None:
        super().__init__(model, processor, layer=layer, class_token="keep", **facts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "config.json").write_text(json.dumps({"model_type": "own"}))
    return tmp_path / "own"


def save_llm(llm: Any, folder: Path) -> Path:
    llm.model.save_pretrained(folder)
    llm.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
def test_a_backbone_loads_it_for_every_modality(folder: Path, tmp_path: Path, llm_of: Any, modality: Any) -> None:
    register_encoder("own", Own, modality=modality)
    llm = save_llm(llm_of("llama"), tmp_path / "llm")
    chosen = {modality: {"loud": True}}
    backbone = Backbone.from_pretrained(llm, **{modality: folder}, dtype="float32", feature_options=chosen)
    own: Any = backbone.encoder(modality)
    assert type(own) is Own
    passed = {"name": "own", "dtype": torch.float32, "revision": None, "local_files_only": False}
    assert own.passed == {"source": folder, "loud": True, **passed}


def test_a_model_of_transformers_is_registered_in_one_line(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=16, patch_size=8)).eval()
    model.save_pretrained(tmp_path)
    SiglipImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path)
    assert isinstance(load_image_encoder(tmp_path), AnyVisionEncoder)
    register_encoder("siglip_vision_model", SiglipEncoder, modality="image", model_class=SiglipVisionModel)
    encoder = load_image_encoder(tmp_path, feature_options={"layer": 1})
    assert isinstance(encoder, SiglipEncoder)
    pixels = encoder.preprocess([Image.new("RGB", (20, 30), (255, 0, 0))], "squash")
    with torch.no_grad():
        expected = model(pixels, output_hidden_states=True).hidden_states[1]
    assert torch.equal(encoder.encode(pixels), expected)
    assert encoder.port.source == tmp_path.name


def test_an_image_encoder_of_ones_own_encodes_frames(folder: Path) -> None:
    register_encoder("own", Own, modality="image")
    encoder = load_video_encoder(folder, feature_options={"frames": 3, "loud": True})
    assert isinstance(encoder, FrameEncoder)
    assert encoder.tokens == 6
    assert encoder.encoder.passed["loud"]


def test_a_feature_option_that_it_lacks_is_refused(folder: Path) -> None:
    register_encoder("own", Own, modality="audio")
    with pytest.raises(BackboneError, match=r"has no argument layer; it has: loud"):
        load_audio_encoder(folder, feature_options={"layer": 1})


def test_what_the_loader_gives_back_is_checked(folder: Path) -> None:
    register_encoder("own", Own, modality="audio", load=lambda source, **_: torch.nn.Linear(1, 1))
    with pytest.raises(EncoderError, match=r"encoders\['audio'\].*Linear has no port, family, tokens"):
        load_audio_encoder(folder)


def test_an_error_of_its_loader_names_the_folder(folder: Path) -> None:
    register_encoder("own", Own, modality="audio", load=lambda source, **_: {}["weights"])
    with pytest.raises(BackboneError, match=r"own: no audio encoder could be loaded: KeyError: 'weights'"):
        load_audio_encoder(folder)


class NoModule:
    preprocess = encode = from_pretrained = print


class Silent(torch.nn.Module):
    from_pretrained = preprocess = print


class Unloadable(torch.nn.Module):
    encode = preprocess = print


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", Own), {}, "model_type: expected the non-empty string"),
        ((3, Own), {}, "model_type: expected the non-empty string"),
        (("own", Own), {"modality": "smell"}, "modality: expected one of image, audio, video, got 'smell'"),
        (("own", NoModule), {}, "expected a subclass of nn.Module, got <class"),
        (("own", Own()), {}, "expected a subclass of nn.Module, got Own"),
        (("own", Silent), {}, "Silent has no method encode"),
        (("own", Unloadable), {}, r"or a class method Unloadable\.from_pretrained"),
        (("own", Own), {"model_class": print}, "expected a model class of transformers"),
        (("clip", Own), {}, "ClipEncoder is already registered for image"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused_at_once(arguments: Any, options: Any, message: str) -> None:
    before = dict(ENCODERS)
    with pytest.raises(EncoderError, match=message):
        register_encoder(*arguments, **({"modality": "image"} | options))
    assert before == ENCODERS


def test_a_class_that_was_imported_again_replaces_the_first() -> None:
    register_encoder("own", Own, modality="image")
    again = type("Own", (Own,), {"__module__": Own.__module__, "__qualname__": Own.__qualname__})
    register_encoder("own", again, modality="image")
    assert ENCODERS["image", "own"].encoder_class is again
