"""Features in the place of an encoder: in a model, in bundles, and the sizes that are refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from inlay.adapters import Adapter, Backbone, IncompatibleBackbone, Layout, LoraConfig, MlpConfig, parse_messages
from inlay.adapters.conversation.messages import MediaPart, MessageError
from inlay.adapters.encoders import EncoderError, PrecomputedEncoder, precomputed
from inlay.adapters.encoders.precomputed import precomputed_as
from inlay.adapters.media.features import Features
from inlay.adapters.media.untrusted import MediaError


def backbone_with(llm: Any, encoder: PrecomputedEncoder) -> Backbone:
    return Backbone(llm, {"features": encoder})


@pytest.fixture
def adapter_for() -> Any:
    def make(backbone: Backbone) -> Adapter:
        torch.manual_seed(0)
        return Adapter.for_backbone(
            backbone,
            system="own",
            name="sensor",
            layout=Layout.published("plain"),
            inputs={"features": MlpConfig()},
            lora=LoraConfig(r=2),
        )

    return make


def ask(path: Any) -> Any:
    part = {"type": "features", "path": str(path)} if isinstance(path, Path) else MediaPart("features", path)
    return [{"role": "user", "content": [part, {"type": "text", "text": "What is measured?"}]}]


def test_values_go_to_the_projector_as_they_are() -> None:
    encoder, values = precomputed(3, 2), torch.randn(2, 2, 3)
    found = encoder.encode(encoder.preprocess([Features(row) for row in values], "squash"))
    assert torch.equal(found, values)
    assert encoder.encode(encoder.preprocess([], "squash")).shape == (0, 2, 3)
    assert list(encoder.parameters()) == []
    assert encoder.state_dict() == {}


def test_fewer_tokens_are_followed_by_zeros_where_they_may_vary() -> None:
    encoder = precomputed(3, 4, variable=True)
    found = encoder.encode(encoder.preprocess([Features(torch.ones(1, 3)), Features(torch.ones(4, 3))], "squash"))
    assert found.sum(dim=2).tolist() == [[3, 0, 0, 0], [3, 3, 3, 3]]


@pytest.mark.parametrize(
    ("variable", "shape", "message"),
    [
        (False, (2, 3), r"expected features \[4, 3\] \(\[tokens, width\]\), got \[2, 3\]"),
        (False, (4, 2), r"got \[4, 2\]"),
        (True, (5, 3), r"expected features \[1 to 4, 3\] .*, got \[5, 3\]"),
        (True, (1, 4), r"got \[1, 4\]"),
    ],
)
def test_other_sizes_are_refused_with_the_name_of_the_file(variable: bool, shape: Any, message: str) -> None:
    with pytest.raises(MediaError, match=f"eeg: .*{message}"):
        precomputed(3, 4, variable=variable).preprocess([Features(torch.zeros(shape), "eeg")], "squash")


def test_a_port_gives_the_encoder_again() -> None:
    encoder = precomputed(8, 4, variable=True, source="eeg-v2")
    assert precomputed_as(encoder.port).port == encoder.port
    assert precomputed_as("8x1-4:eeg-v2").port == encoder.port
    assert precomputed_as(encoder) is encoder
    with pytest.raises(EncoderError, match="expected a port of the family 'precomputed', got 'clip'"):
        precomputed_as(encoder.port.model_copy(update={"family": "clip"}))


def test_a_bundle_is_attached_again_and_its_canary_passes(llm_of: Any, adapter_for: Any, tmp_path: Path) -> None:
    encoder = precomputed(8, 4, source="eeg-v2")
    backbone = backbone_with(llm_of("llama"), encoder)
    adapter = adapter_for(backbone)
    model = adapter.attach(backbone)
    save_file({"features": torch.randn(4, 8)}, tmp_path / "x.safetensors")
    said = model.chat(ask(tmp_path / "x.safetensors"), max_new_tokens=4).text
    adapter.save_pretrained(tmp_path / "bundle")
    adapter.detach()
    again = Adapter.from_pretrained(tmp_path / "bundle")
    assert again.interface["features"] == encoder.port
    assert again.canary is not None
    assert again.canary.media == {"features": "wave"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = again.attach(backbone_with(backbone.llm, precomputed_as(again.interface["features"])), strict=True)
    assert model.chat(ask(tmp_path / "x.safetensors"), max_new_tokens=4).text == said
    card = (tmp_path / "bundle" / "README.md").read_text()
    assert 'features="8x4:eeg-v2"' in card


def test_another_name_fits_and_other_sizes_do_not(llm_of: Any, adapter_for: Any) -> None:
    llm = llm_of("llama")
    adapter = adapter_for(backbone_with(llm, precomputed(8, 4, source="one")))
    assert adapter.compatibility(backbone_with(llm, precomputed(8, 4, source="one"))).verdict == "exact"
    assert adapter.compatibility(backbone_with(llm, precomputed(8, 4, source="two"))).verdict == "fits"
    for other, field in (
        (precomputed(9, 4), "width"),
        (precomputed(8, 5), "tokens"),
        (precomputed(8, 4, variable=True), "variable"),
    ):
        with pytest.raises(IncompatibleBackbone, match=field):
            adapter.attach(backbone_with(llm, other))


def test_another_file_gives_other_logits(llm_of: Any, adapter_for: Any) -> None:
    backbone = backbone_with(llm_of("llama"), precomputed(8, 4))
    model = adapter_for(backbone).attach(backbone)
    one, two = (model.probe(parse_messages(ask(torch.full((4, 8), value)))) for value in (0.0, 1.0))
    assert not torch.allclose(one, two)


def test_the_assistant_makes_no_features() -> None:
    part = {"type": "features", "path": "x.safetensors"}
    with pytest.raises(MessageError, match="the assistant's media are image, audio, video, got features"):
        parse_messages([{"role": "user", "content": "a"}, {"role": "assistant", "content": [part]}])
