"""EVA with BLIP-2's frozen Q-Former: MiniGPT-4's encoder, on which one linear layer trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Blip2VisionConfig, Blip2VisionModel, BlipImageProcessorPil

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.compatibility.verdict import check
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.encoders import EncoderError, EvaEncoder, QFormerEncoder
from inlay.adapters.inputs import LinearConfig, LinearProjector, QFormer, QFormerConfig, QFormerProjector
from inlay.adapters.inputs.qformer import QFormerSizes
from inlay.adapters.loading.encoders.image import load_image_encoder
from inlay.adapters.loading.pretrained import BackboneError

PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PROCESSOR = BlipImageProcessorPil(size={"height": 16, "width": 16})


def encoder_of(model: Any) -> QFormerEncoder:
    return QFormerEncoder(EvaEncoder(model, PROCESSOR, source="tiny/blip2"), QFormer.from_blip2(model))


def test_features_equal_the_query_outputs_of_blip2(blip2_of: Any) -> None:
    model = blip2_of()
    with torch.no_grad():
        expected = model.get_qformer_features(PIXELS)
    encoder = encoder_of(model)
    torch.testing.assert_close(encoder.encode(PIXELS), expected, atol=1e-5, rtol=0)
    assert (encoder.tokens, encoder.width) == (6, 16)


def test_nothing_of_it_trains(blip2_of: Any) -> None:
    encoder = encoder_of(blip2_of())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in Backbone(None, {"image": encoder}).train().encoders.modules())
    assert not any(module.training for module in encoder.qformer.modules())
    assert not encoder.encode(PIXELS).requires_grad


def test_port_tells_qformer_and_settings_apart(blip2_of: Any) -> None:
    model = blip2_of()
    port = encoder_of(model).port
    assert (port.family, port.width, port.tokens, port.source) == ("qformer", 16, 6, "tiny/blip2")
    assert port.settings == {"layer": -1, "class_token": "keep", "image_size": 16, "norm_eps": 1e-6}
    other = blip2_of()
    with torch.no_grad():
        other.query_tokens.add_(1)
    assert check({"image": port}, {"image": encoder_of(other).port}).verdict == "fits"
    assert check({"image": port}, {"image": EvaEncoder(model, PROCESSOR).port}).verdict == "incompatible"


@pytest.mark.parametrize(("width", "count"), [(4096, 3_149_824), (5120, 3_937_280)])
def test_published_counts_of_minigpt4(width: int, count: int) -> None:
    with torch.device("meta"):
        tower, qformer = Blip2VisionModel(Blip2VisionConfig()), QFormer(QFormerSizes(width_in=1408))
        encoder = QFormerEncoder(EvaEncoder(tower, PROCESSOR), qformer)
        projector = LinearProjector(LinearConfig(width_in=encoder.width, width_out=width))
    assert sum(parameter.numel() for parameter in projector.parameters()) == count
    assert encoder.tokens == 32


def test_qformer_that_was_trained_here_can_be_frozen_into_an_encoder(blip2_of: Any) -> None:
    sizes = {"width_in": 24, "queries": 4, "hidden": 16, "layers": 2, "heads": 2, "ffn": 24}
    projector = QFormerProjector(QFormerConfig(**sizes, width_out=20))
    encoder = QFormerEncoder(EvaEncoder(blip2_of(), PROCESSOR), projector.qformer)
    with torch.no_grad():
        expected = projector.eval()(encoder.encoder.encode(PIXELS))
        torch.testing.assert_close(projector.projection(encoder.encode(PIXELS)), expected)


def test_qformer_for_other_features_is_refused(blip2_of: Any) -> None:
    with pytest.raises(EncoderError, match="takes features of 32 values, the encoder gives 24"):
        QFormerEncoder(EvaEncoder(blip2_of(), PROCESSOR), QFormer(QFormerSizes(width_in=32, layers=1)))


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    PROCESSOR.save_pretrained(folder)
    return folder


def test_whole_blip2_folder_loads_with_its_qformer(tmp_path: Path, blip2_of: Any) -> None:
    model = blip2_of()
    loaded = load_image_encoder(save(model, tmp_path / "blip2"), dtype="float32", qformer=True)
    assert loaded.port.weights == encoder_of(model).port.weights
    assert torch.equal(loaded.encode(PIXELS), encoder_of(model).encode(PIXELS))


def test_tower_alone_has_no_qformer_to_load(tmp_path: Path, blip2_of: Any) -> None:
    folder = save(blip2_of().vision_model, tmp_path / "eva")
    with pytest.raises(BackboneError, match=r"whole BLIP-2 .* this is of type 'blip_2_vision_model'"):
        load_image_encoder(folder, qformer=True)


def test_bundle_on_it_holds_the_linear_layer_alone(tmp_path: Path, blip2_of: Any, llm_of: Any, image_of: Any) -> None:
    backbone = Backbone(llm_of("llama"), {"image": encoder_of(blip2_of())})
    adapter = Adapter.for_backbone(
        backbone,
        system="minigpt4",
        name="tiny",
        layout=Layout(template="vicuna_v1", geometry={"image": "squash"}),
        inputs={"image": LinearConfig()},
    )
    model = adapter.attach(backbone)
    message = [{"role": "user", "content": [{"type": "image", "image": image_of()}, {"type": "text", "text": "red?"}]}]
    reply = model.chat(message, max_new_tokens=3)
    adapter.save_pretrained(tmp_path / "bundle", dtype="float32")
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert {name: tuple(tensor.shape) for name, tensor in again.inputs.state_dict().items()} == {
        "image.layer.weight": (32, 16),
        "image.layer.bias": (32,),
    }
    assert again.attach(backbone, strict=True).chat(message, max_new_tokens=3) == reply


def test_half_precision_leaves_the_qformer_in_float32_and_the_digest_as_it_is(tmp_path: Path, blip2_of: Any) -> None:
    model = blip2_of()
    loaded = load_image_encoder(save(model, tmp_path / "blip2"), dtype="bfloat16", qformer=True)
    assert (loaded.encoder.dtype, loaded.dtype, loaded.encode(PIXELS).dtype) == (
        torch.bfloat16,
        torch.float32,
        torch.float32,
    )
    assert loaded.port.weights == encoder_of(model).port.weights
