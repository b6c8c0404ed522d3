"""Joined patches: neighbours in reading order, the class token dropped, the published count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inlay.adapters.inputs import PatchMergeConfig, PatchMergeProjector, ProjectorError


@pytest.mark.parametrize(("width", "count"), [(4096, 23_072_768)])
def test_published_count(width: int, count: int) -> None:
    with torch.device("meta"):
        projector = PatchMergeProjector(PatchMergeConfig(width_in=1408, width_out=width))
    assert sum(parameter.numel() for parameter in projector.parameters()) == count
    assert projector.tokens(257) == 64


def test_output_is_one_linear_over_four_normalised_neighbours() -> None:
    projector = PatchMergeProjector(PatchMergeConfig(width_in=6, width_out=5))
    features = torch.randn(2, 9, 6)
    normed = nn.LayerNorm(6)(features)
    rows = [[torch.cat([normed[n, 1 + 4 * j + k] for k in range(4)]) for j in range(2)] for n in range(2)]
    expected = projector.layer(torch.stack([torch.stack(row) for row in rows]))
    torch.testing.assert_close(projector(features), expected)


def test_without_a_class_token_nothing_is_dropped() -> None:
    projector = PatchMergeProjector(PatchMergeConfig(width_in=6, width_out=5, class_token=False))
    assert projector(torch.randn(1, 8, 6)).shape == (1, projector.tokens(8), 5)


def test_patches_that_cannot_be_shared_out_are_refused() -> None:
    projector = PatchMergeProjector(PatchMergeConfig(width_in=6, width_out=5))
    with pytest.raises(ProjectorError, match="expected a multiple of merge = 4 patches, got 7"):
        projector(torch.randn(1, 8, 6))


def test_no_tensor_but_the_linear_is_stored() -> None:
    projector = PatchMergeProjector(PatchMergeConfig(width_in=6, width_out=5))
    assert sorted(projector.state_dict()) == ["layer.bias", "layer.weight"]


def test_batch_without_pictures_gives_no_positions() -> None:
    projector = PatchMergeProjector(PatchMergeConfig(width_in=4, width_out=6))
    assert projector(torch.zeros(0, 5, 4)).shape == (0, 1, 6)
