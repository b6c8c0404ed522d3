"""The perceiver resampler equals that of Idefics with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import IdeficsConfig
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

from inlay.adapters.inputs import PerceiverConfig, PerceiverProjector

SMALL = {"width_in": 24, "width_out": 20, "latents": 5, "depth": 2, "heads": 3, "head_width": 4}
NAMES = {
    "context_layer_norm": "norm_features",
    "latents_layer_norm": "norm_latents",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "output_proj": "output",
    "ln": "norm_ffn",
    "fc": "up",
    "c_proj": "down",
}


def test_latents_equal_those_of_idefics() -> None:
    torch.manual_seed(0)
    config = IdeficsConfig(
        vision_config={"embed_dim": 24}, perceiver_config={"qk_layer_norms_perceiver": False, "use_resampler": True}
    )
    theirs = IdeficsPerceiverResampler(config, embed_dim=24, depth=2, n_heads=3, head_dim=4, n_latents=5)
    for tensor in theirs.parameters():
        torch.nn.init.normal_(tensor, std=0.5)
    ours = PerceiverProjector(PerceiverConfig(**SMALL, activation="relu"))
    tensors = {"latents": theirs.latents, "norm.weight": theirs.layer_norm.weight, "norm.bias": theirs.layer_norm.bias}
    for name, tensor in theirs.blocks.state_dict().items():
        block, _, module, kind = name.split(".")
        tensors[f"blocks.{block}.{NAMES[module]}.{kind}"] = tensor
    ours.load_state_dict(tensors | {f"projection.{k}": v for k, v in ours.projection.state_dict().items()})
    features = torch.randn(2, 7, 24)
    with torch.no_grad():
        torch.testing.assert_close(ours.resample(features), theirs(features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("activation", "at_two"), [("squared_relu", 4.0), ("relu", 2.0), ("gelu", 1.9545)])
def test_activation_is_the_one_asked_for(activation: str, at_two: float) -> None:
    block: Any = PerceiverProjector(PerceiverConfig(**SMALL, activation=activation)).blocks[0]
    assert block.act(torch.tensor([2.0])).item() == pytest.approx(at_two, abs=1e-4)


def test_count_in_closed_form() -> None:
    config = PerceiverConfig(width_in=1024, width_out=4096)
    with torch.device("meta"):
        projector = PerceiverProjector(config)
    attention, block = 4 * 1024 * 16 * 96, 2 * 1024 * 4096
    norms = 3 * 2 * 1024
    expected = 64 * 1024 + 6 * (attention + block + norms) + 2 * 1024 + 4096 * 1025
    assert sum(parameter.numel() for parameter in projector.parameters()) == expected


def test_every_tensor_gets_a_gradient() -> None:
    projector = PerceiverProjector(PerceiverConfig(**SMALL))
    projector(torch.randn(2, 7, 24)).square().sum().backward()
    assert [name for name, tensor in projector.named_parameters() if tensor.grad is None or not tensor.grad.any()] == []


def test_no_media_still_touch_every_tensor() -> None:
    projector = PerceiverProjector(PerceiverConfig(**SMALL))
    projector(torch.zeros(0, 7, 24)).sum().backward()
    assert all(tensor.grad is not None for tensor in projector.parameters())
