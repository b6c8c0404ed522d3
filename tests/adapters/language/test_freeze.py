"""Frozen means eval mode and no gradient."""

from __future__ import annotations

from torch import nn

from inlay.adapters.language.freeze import freeze


def test_a_frozen_module_is_the_same_object_in_eval_mode_without_gradients() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    assert freeze(module) is module
    assert not any(child.training for child in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
