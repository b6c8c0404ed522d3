"""Inputs follow the weights."""

from __future__ import annotations

from typing import Any

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


def test_token_ids_keep_their_dtype() -> None:
    ids = like_weights(nn.Linear(2, 3, device="meta", dtype=torch.bfloat16), torch.tensor([1, 2]))
    assert (ids.device.type, ids.dtype) == ("meta", torch.long)


def test_an_adapter_takes_features_from_another_device(backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of()
    adapter = adapter_of(backbone).to("meta")
    encoder = backbone.encoder("image")
    projected = adapter.project("image", torch.zeros(2, encoder.tokens, encoder.width))
    assert (projected.device.type, projected.shape) == ("meta", (2, encoder.tokens, backbone.llm.width))
