"""What rounding may change."""

from __future__ import annotations

import torch

from inlay.adapters.export.tolerance import allowed_difference


def test_16_bit_allows_ten_times_as_much() -> None:
    logits = torch.randn(100, generator=torch.Generator().manual_seed(0))
    wide, narrow = (allowed_difference(logits, dtype) for dtype in (torch.bfloat16, torch.float32))
    assert 9.9 < wide / narrow < 10.1


def test_scores_of_minus_infinity_do_not_count() -> None:
    logits = torch.tensor([1.0, 2.0, -float("inf")])
    assert allowed_difference(logits, torch.float32) == allowed_difference(logits[:2], torch.float32)
