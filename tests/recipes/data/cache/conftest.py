"""Spaces of small tensors, whose right values follow from the key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.data.cache.store import CacheStore, Space


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def shapes_of() -> Callable[..., dict[str, tuple[int, ...]]]:
    """Keys of the numbers from 0 to below ``count``, with their shapes."""
    return lambda count, size=12: {key_of(number): (size,) for number in range(count)}


@pytest.fixture
def tensors_of() -> Callable[..., dict[str, torch.Tensor]]:
    def make(*numbers: int, size: int = 12) -> dict[str, torch.Tensor]:
        return {key_of(number): torch.full((size,), float(number)) for number in numbers}

    return make


@pytest.fixture
def space_at(tmp_path: Path) -> Callable[..., Space]:
    """A space as another process would open it."""

    def make(name: str = "one", **options: Any) -> Space:
        return CacheStore(tmp_path / "cache", **options).space({"name": name})

    return make


@pytest.fixture
def shard_of() -> Callable[[Space], Path]:
    """The only shard of a space."""

    def find(space: Space) -> Path:
        (path,) = space.store.shards(space.digest)
        return path

    return find
