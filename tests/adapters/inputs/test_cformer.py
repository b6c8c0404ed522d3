"""C-Former: integrate-and-fire as one matrix equals the loop over time that it stands for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inlay.adapters.inputs import CFormerConfig, CFormerProjector
from inlay.adapters.inputs.cformer import integrate_and_fire
from inlay.adapters.parts.fields import ConfigError

SMALL = {"width_in": 10, "width_out": 7, "queries": 5, "hidden": 12, "layers": 2, "heads": 3, "ffn": 16, "dropout": 0.0}


def loop(features: Tensor, weights: Tensor, length: int) -> Tensor:
    """Accumulate frame by frame, fire at one, carry the rest on."""
    fired, held, weight = [], torch.zeros(features.shape[1]), 0.0
    for frame, share in zip(features, weights.tolist(), strict=True):
        rest = share
        while weight + rest >= 1.0:
            used = 1.0 - weight
            fired.append(held + used * frame)
            held, weight, rest = torch.zeros_like(held), 0.0, rest - used
        held, weight = held + rest * frame, weight + rest
    fired += [held, *[torch.zeros_like(held)] * length]
    return torch.stack(fired[:length])


@pytest.mark.parametrize("scale", [0.1, 0.6, 3.0])
def test_matrix_equals_the_loop_over_time(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 20, 4, generator=generator)
    weights = torch.rand(3, 20, generator=generator) * scale
    found = integrate_and_fire(features, weights, 8)
    expected = torch.stack([loop(row, share, 8) for row, share in zip(features, weights, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_weights_come_to_the_number_of_vectors() -> None:
    projector = CFormerProjector(CFormerConfig(**SMALL))
    weights = projector.weights(torch.randn(4, 33, 10))
    torch.testing.assert_close(weights.sum(dim=1), torch.full((4,), 5.0))
    assert bool((weights > 0).all())


def test_zeros_behind_a_sound_do_not_change_what_is_fired() -> None:
    projector = CFormerProjector(CFormerConfig(**SMALL)).eval()
    short = torch.randn(2, 12, 10)
    filled = torch.cat([short, torch.zeros(2, 9, 10)], dim=1)
    torch.testing.assert_close(projector(filled), projector(short), atol=1e-5, rtol=1e-5)


def test_silence_without_a_frame_is_finite() -> None:
    assert bool(CFormerProjector(CFormerConfig(**SMALL))(torch.zeros(1, 12, 10)).isfinite().all())


def test_order_in_time_is_kept() -> None:
    times = torch.arange(40.0).view(1, 40, 1)
    fired = integrate_and_fire(times, torch.full((1, 40), 0.25), 10).flatten()
    assert fired.tolist() == [1.5 + 4 * place for place in range(10)]


def test_layers_are_those_of_bert() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=16)
    ).eval()
    layer, ours = bert.encoder.layer[0], CFormerProjector(CFormerConfig(**SMALL)).layers[0].eval()
    inside = layer.attention.self
    ours.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([inside.query.weight, inside.key.weight, inside.value.weight]),
            "self_attn.in_proj_bias": torch.cat([inside.query.bias, inside.key.bias, inside.value.bias]),
            "self_attn.out_proj.weight": layer.attention.output.dense.weight,
            "self_attn.out_proj.bias": layer.attention.output.dense.bias,
            "linear1.weight": layer.intermediate.dense.weight,
            "linear1.bias": layer.intermediate.dense.bias,
            "linear2.weight": layer.output.dense.weight,
            "linear2.bias": layer.output.dense.bias,
            "norm1.weight": layer.attention.output.LayerNorm.weight,
            "norm1.bias": layer.attention.output.LayerNorm.bias,
            "norm2.weight": layer.output.LayerNorm.weight,
            "norm2.bias": layer.output.LayerNorm.bias,
        }
    )
    states = torch.randn(2, 5, 12)
    with torch.no_grad():
        found = layer(states)
        torch.testing.assert_close(ours(states), found[0] if isinstance(found, tuple) else found, atol=1e-5, rtol=1e-5)


def test_count_in_closed_form() -> None:
    with torch.device("meta"):
        projector = CFormerProjector(CFormerConfig(width_in=512, width_out=4096))
    sampler = 512 * 512 * 3 + 512 + 513
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    around = 513 * 768 + 32 * 768 + 2 * 768 + 769 * 4096
    assert sum(tensor.numel() for tensor in projector.parameters()) == sampler + 12 * layer + around


def test_every_tensor_gets_a_gradient() -> None:
    projector = CFormerProjector(CFormerConfig(**SMALL))
    projector(torch.randn(2, 17, 10)).square().sum().backward()
    assert [name for name, tensor in projector.named_parameters() if tensor.grad is None or not tensor.grad.any()] == []


def test_no_media_still_touch_every_tensor() -> None:
    projector = CFormerProjector(CFormerConfig(**SMALL))
    projector(torch.zeros(0, 17, 10)).sum().backward()
    assert all(tensor.grad is not None for tensor in projector.parameters())


def test_published_ending_leaves_nothing_negative() -> None:
    features = torch.randn(2, 17, 10)
    for ending, negative in (("relu", False), ("none", True)):
        found = CFormerProjector(CFormerConfig(**SMALL, ending=ending))(features)
        assert bool((found < 0).any()) is negative


def test_even_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match="kernel"):
        CFormerConfig(**SMALL, kernel=4)
