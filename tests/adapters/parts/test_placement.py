"""Inputs follow the weights."""

from __future__ import annotations

import torch
from torch import nn

from inlay.adapters.parts.placement import like_weights


def test_device_and_dtype_are_those_of_the_weights() -> None:
    module = nn.Linear(2, 3, device="meta", dtype=torch.bfloat16)
    moved = like_weights(module, torch.zeros(4, 2))
    assert (moved.device.type, moved.dtype) == ("meta", torch.bfloat16)


def test_a_tensor_that_is_there_already_is_not_copied() -> None:
    tensor = torch.zeros(4, 2)
    assert like_weights(nn.Linear(2, 3), tensor) is tensor
