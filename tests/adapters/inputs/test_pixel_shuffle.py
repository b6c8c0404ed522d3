"""Pixel shuffle: equal to the connectors of transformers with the same weights, and to published counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Idefics3Config, InternVLConfig, SmolVLMConfig
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.internvl.modeling_internvl import InternVLModel, InternVLMultiModalProjector
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMConnector

from inlay.adapters.inputs import PixelShuffleConfig, PixelShuffleProjector, ProjectorError

WIDTH, OUT = 6, 8


@pytest.mark.parametrize(
    ("config", "connector"), [(Idefics3Config, Idefics3Connector), (SmolVLMConfig, SmolVLMConnector)]
)
@pytest.mark.parametrize(("factor", "side"), [(2, 6), (3, 6), (4, 8)])
def test_linear_without_bias_equals_the_connector_of_idefics3_and_smolvlm(
    config: Any, connector: Any, factor: int, side: int
) -> None:
    theirs = connector(
        config(
            vision_config={"hidden_size": WIDTH},
            text_config={"model_type": "llama", "hidden_size": OUT, "num_attention_heads": 2},
            scale_factor=factor,
        )
    )
    ours = PixelShuffleProjector(PixelShuffleConfig(width_in=WIDTH, width_out=OUT, factor=factor, depth=1, bias=False))
    ours.layers[0].load_state_dict(theirs.modality_projection.proj.state_dict())
    features = torch.randn(2, side * side, WIDTH)
    assert ours.tokens(side * side) == (side // factor) ** 2
    torch.testing.assert_close(ours(features), theirs(features), rtol=0, atol=1e-6)


def test_norm_and_two_layers_equal_the_projector_of_internvl() -> None:
    config = InternVLConfig(
        vision_config={"hidden_size": WIDTH},
        text_config={"model_type": "qwen2", "hidden_size": OUT, "num_attention_heads": 2},
        downsample_ratio=0.5,
    )
    theirs = InternVLMultiModalProjector(config)
    torch.nn.init.normal_(theirs.layer_norm.weight)
    torch.nn.init.normal_(theirs.layer_norm.bias)
    ours = PixelShuffleProjector(PixelShuffleConfig(width_in=WIDTH, width_out=OUT, factor=2, norm=True))
    for layer, name in zip((0, 1, 3), ("layer_norm", "linear_1", "linear_2"), strict=True):
        ours.layers[layer].load_state_dict(getattr(theirs, name).state_dict())
    features = torch.randn(2, 36, WIDTH)
    shuffle: Any = InternVLModel.pixel_shuffle
    merged: Tensor = shuffle(None, features.view(2, 6, 6, WIDTH), scale_factor=0.5).reshape(2, 9, -1)
    torch.testing.assert_close(ours(features), theirs(merged), rtol=0, atol=1e-6)


def test_pixel_unshuffle_of_torch_has_another_order_of_channels() -> None:
    projector = PixelShuffleProjector(PixelShuffleConfig(width_in=2, width_out=8, depth=1, bias=False))
    with torch.no_grad():
        projector.layers[0].weight.copy_(torch.eye(8))
    features = torch.randn(1, 4, 2)
    unshuffled = torch.pixel_unshuffle(features.mT.reshape(1, 2, 2, 2), 2).flatten()
    found = projector(features).flatten()
    assert torch.equal(found, features.flatten())
    assert torch.equal(found.view(4, 2).T.flatten(), unshuffled)


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        # nanoVLM-460M: SigLIP2-B/16 at 512 px and SmolLM2-360M; 1,024 features become 64 positions.
        ({"width_in": 768, "width_out": 960, "factor": 4, "depth": 1, "bias": False}, 11_796_480),
        # InternVL3.5-1B: InternViT-300M and Qwen3-0.6B.
        ({"width_in": 1024, "width_out": 1024, "factor": 2, "norm": True}, 5_253_120),
    ],
)
def test_published_counts(fields: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        projector = PixelShuffleProjector(PixelShuffleConfig(**fields))
    assert sum(parameter.numel() for parameter in projector.parameters()) == count
    assert projector.tokens(1024) == 1024 // fields["factor"] ** 2


def test_grid_with_given_rows_need_not_be_square() -> None:
    projector = PixelShuffleProjector(PixelShuffleConfig(width_in=3, width_out=4, rows=2))
    assert projector(torch.randn(2, 12, 3)).shape == (2, projector.tokens(12), 4) == (2, 3, 4)


def test_forward_refuses_a_grid_that_cannot_be_cut() -> None:
    projector = PixelShuffleProjector(PixelShuffleConfig(width_in=3, width_out=4, factor=4))
    with pytest.raises(ProjectorError, match="got 27 x 27 features; choose factor 3 or 9"):
        projector(torch.randn(1, 729, 3))


def test_batch_without_pictures_gives_no_positions() -> None:
    projector = PixelShuffleProjector(PixelShuffleConfig(width_in=4, width_out=6))
    assert projector(torch.zeros(0, 16, 4)).shape == (0, 4, 6)
