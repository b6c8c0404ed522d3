"""The stored test input: its tolerance follows the precision in which it was recorded and is checked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.compatibility.canary import CanaryError, record, verify

LOGITS = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 3


def forward_of(logits: torch.Tensor) -> Any:
    return lambda _: logits


def off_by(share: float) -> Any:
    """Logits that differ by a share of their spread."""
    return forward_of(LOGITS + share * LOGITS.std())


@pytest.mark.parametrize(
    ("recorded", "checked", "passes", "fails"),
    [
        (torch.float32, torch.float32, 0.01, 0.05),
        (torch.float32, torch.bfloat16, 0.1, 0.5),
        (torch.bfloat16, torch.float32, 0.08, 0.5),
        (torch.bfloat16, torch.bfloat16, 0.08, 0.5),
    ],
)
def test_the_tolerance_is_wide_if_one_of_both_computes_in_16_bit(
    recorded: torch.dtype, checked: torch.dtype, passes: float, fails: float
) -> None:
    canary = record(forward_of(LOGITS), (), dtype=recorded)
    assert verify(off_by(passes), canary, checked) > 0
    with pytest.raises(CanaryError, match="logits that differ by"):
        verify(off_by(fails), canary, checked)


def test_a_canary_of_small_logits_stays_within_the_bounds_of_a_bundle() -> None:
    small = record(forward_of(LOGITS * 1e-3), (), dtype=torch.bfloat16)
    assert small.tolerance <= 0.05 * max(map(abs, small.logits)) + 1e-3
