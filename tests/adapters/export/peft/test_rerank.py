"""Another rank of a LoRA, against the singular values of the whole matrix."""

from __future__ import annotations

import pytest
import torch

from inlay.adapters.export.peft.rerank import rerank

GENERATOR = torch.Generator().manual_seed(0)
DOWNS = {name: torch.randn(6, 20, generator=GENERATOR) for name in "xy"}
UPS = {name: torch.randn(12, 6, generator=GENERATOR) for name in "xy"}


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_product_is_the_nearest_of_its_rank(rank: int) -> None:
    made = rerank(DOWNS, UPS, rank)
    lost = whole = 0.0
    for name in DOWNS:
        full = UPS[name] @ DOWNS[name]
        u, values, v = torch.linalg.svd(full.double())
        best = (u[:, :rank] * values[:rank]) @ v[:rank]
        assert made.downs[name].shape == (rank, 20)
        assert torch.allclose((made.ups[name] @ made.downs[name]).double(), best, atol=1e-4)
        lost, whole = lost + float((full - best).square().sum()), whole + float(full.square().sum())
    assert made.error == pytest.approx((lost / whole) ** 0.5, rel=1e-4)
    assert made.worst >= made.error


@pytest.mark.parametrize("rank", [6, 9])
def test_a_rank_that_is_no_smaller_changes_nothing(rank: int) -> None:
    made = rerank(DOWNS, UPS, rank)
    assert made.error == made.worst == 0
    for name in DOWNS:
        assert torch.equal(made.downs[name][:6], DOWNS[name])
        assert not made.ups[name][:, 6:].any()


def test_a_lora_of_zeros_loses_nothing() -> None:
    made = rerank({"x": torch.ones(4, 5)}, {"x": torch.zeros(3, 4)}, 2)
    assert made.error == 0
    assert not (made.ups["x"] @ made.downs["x"]).any()
