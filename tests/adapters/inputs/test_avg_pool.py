"""Average pooling: equal to torch's own pooling of the map, then the MLP."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from inlay.adapters.inputs import AvgPoolConfig, AvgPoolProjector, ProjectorError


@pytest.mark.parametrize(("factor", "rows", "columns"), [(2, 4, 4), (3, 6, 6), (2, 4, 6)])
def test_output_is_the_mlp_over_torchs_pooled_map(factor: int, rows: int, columns: int) -> None:
    given = 0 if rows == columns else rows
    projector = AvgPoolProjector(AvgPoolConfig(width_in=5, width_out=7, factor=factor, rows=given))
    features = torch.randn(2, rows * columns, 5)
    pooled = avg_pool2d(features.mT.unflatten(2, (rows, columns)), factor).flatten(2).mT
    expected = projector.layers(pooled)
    torch.testing.assert_close(projector(features), expected)
    assert projector.tokens(rows * columns) == expected.shape[1]


def test_layers_are_as_wide_as_without_pooling() -> None:
    projector = AvgPoolProjector(AvgPoolConfig(width_in=1024, width_out=4096, factor=4))
    assert sum(parameter.numel() for parameter in projector.parameters()) == 20_979_712


def test_class_token_is_dropped() -> None:
    projector = AvgPoolProjector(AvgPoolConfig(width_in=4, width_out=6, class_token=True))
    features = torch.randn(1, 17, 4)
    changed = torch.cat([features[:, :1] + 1, features[:, 1:]], dim=1)
    assert torch.equal(projector(features), projector(changed))


def test_grid_that_cannot_be_cut_is_refused() -> None:
    projector = AvgPoolProjector(AvgPoolConfig(width_in=4, width_out=6))
    with pytest.raises(ProjectorError, match="got 3 x 3 features; choose factor 3"):
        projector(torch.randn(1, 9, 4))
