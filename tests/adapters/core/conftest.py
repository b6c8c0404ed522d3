"""Backbones of the core's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inlay.adapters.backbone import Backbone


@pytest.fixture
def long_backbone_of(llm_of: Any, clip_of: Any) -> Callable[[], Backbone]:
    """A backbone whose context holds the texts of row and column markers, letter by letter."""
    return lambda: Backbone(llm_of("llama", max_position_embeddings=2048), {"image": clip_of()})
