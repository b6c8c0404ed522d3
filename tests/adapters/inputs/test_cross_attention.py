"""The single-layer resampler: positions on a grid, and the formula of its docstring written out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from inlay.adapters.inputs import CrossAttentionConfig, CrossAttentionProjector, ProjectorError
from inlay.adapters.inputs.cross_attention import grid_positions, resample_positions
from inlay.adapters.parts.fields import ConfigError

SMALL = {"width_in": 6, "width_out": 16, "queries": 4, "head_width": 8}


def test_positions_are_sines_and_cosines_of_column_and_row() -> None:
    table = grid_positions(3, 8).numpy()
    for row in range(3):
        for column in range(3):
            halves = [[math.sin(p), math.sin(p / 100), math.cos(p), math.cos(p / 100)] for p in (column, row)]
            np.testing.assert_allclose(table[3 * row + column], halves[0] + halves[1], atol=1e-12)


def test_positions_on_another_grid_keep_their_place() -> None:
    table = resample_positions(grid_positions(4, 8), 64)
    assert table.shape == (64, 8)
    # Sine of the column grows along a row of the finer grid as it does along one of the coarser, and not down a column.
    assert (table[:3, 0].diff() > 0).all()
    torch.testing.assert_close(table[0, :4], table[8, :4])


def test_output_is_attention_of_queries_to_features_with_positions() -> None:
    torch.manual_seed(0)
    projector = CrossAttentionProjector(CrossAttentionConfig(**SMALL))
    for tensor in projector.parameters():
        torch.nn.init.normal_(tensor, std=0.5)
    features = torch.randn(2, 9, 6)
    weight, bias = projector.attention.in_proj_weight.chunk(3), projector.attention.in_proj_bias.chunk(3)
    values = projector.norm_features(features @ projector.enter.weight.T)
    keys = values + resample_positions(projector.positions, 9)
    queries = projector.norm_queries(projector.queries) + projector.positions
    q = (queries @ weight[0].T + bias[0]).unflatten(-1, (2, 8)).expand(2, -1, -1, -1)
    k, v = ((x @ weight[i].T + bias[i]).unflatten(-1, (2, 8)) for i, x in ((1, keys), (2, values)))
    scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / math.sqrt(8)
    found = torch.einsum("nhqk,nkhd->nqhd", scores.softmax(-1), v).flatten(2)
    found = found @ projector.attention.out_proj.weight.T + projector.attention.out_proj.bias
    expected = projector.norm_output(found) @ projector.projection.weight.T
    torch.testing.assert_close(projector(features), expected, atol=1e-5, rtol=1e-5)


def test_count_of_qwen_vl() -> None:
    with torch.device("meta"):
        projector = CrossAttentionProjector(CrossAttentionConfig(width_in=1664, width_out=4096))
    attention, norms = 4 * 4096 * 4097, 3 * 2 * 4096
    expected = 256 * 4096 + 1664 * 4096 + attention + norms + 4096 * 4096
    assert sum(parameter.numel() for parameter in projector.parameters()) == expected
    assert projector.attention.num_heads == 32


def test_table_of_positions_is_not_stored() -> None:
    assert "positions" not in CrossAttentionProjector(CrossAttentionConfig(**SMALL)).state_dict()


def test_features_are_told_apart_by_their_place() -> None:
    projector = CrossAttentionProjector(CrossAttentionConfig(**SMALL))
    features = torch.randn(1, 9, 6)
    moved = projector(features.roll(1, dims=1))
    assert not torch.allclose(projector(features), moved, atol=1e-4)


def test_class_token_is_dropped_where_it_is_said_to_be_one() -> None:
    config = CrossAttentionConfig(**SMALL, class_token=True)
    projector, features = CrossAttentionProjector(config), torch.randn(1, 10, 6)
    other = torch.cat([torch.randn(1, 1, 6), features[:, 1:]], dim=1)
    torch.testing.assert_close(projector(features), projector(other))


def test_features_that_fill_no_square_are_refused() -> None:
    projector = CrossAttentionProjector(CrossAttentionConfig(**SMALL))
    with pytest.raises(ProjectorError, match="a square number of patches, got 10 of 10 features; does class_token"):
        projector(torch.randn(1, 10, 6))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"queries": 5}, "queries: expected a square number, got 5"),
        ({"width_out": 18, "head_width": 32}, "width_out: expected a multiple of 4, got 18"),
        ({"width_out": 20, "head_width": 6}, "width_out: expected a multiple of the 3 heads, got 20"),
    ],
)
def test_contradictions_die_at_once(changes: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        CrossAttentionConfig(**SMALL | changes)


def test_every_tensor_gets_a_gradient() -> None:
    projector = CrossAttentionProjector(CrossAttentionConfig(**SMALL))
    F.mse_loss(projector(torch.randn(2, 9, 6)), torch.randn(2, 4, 16)).backward()
    assert [name for name, tensor in projector.named_parameters() if tensor.grad is None or not tensor.grad.any()] == []


def test_no_media_still_touch_every_tensor() -> None:
    projector = CrossAttentionProjector(CrossAttentionConfig(**SMALL))
    projector(torch.zeros(0, 9, 6)).sum().backward()
    assert all(tensor.grad is not None for tensor in projector.parameters())
