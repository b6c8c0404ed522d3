"""Spaces of small numbers, whose right content follows from the key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inlay.recipes.cache.store import CacheStore, Space, digest_of


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def keys_of() -> Callable[[int], list[str]]:
    return lambda count: [key_of(number) for number in range(count)]


@pytest.fixture
def tensors_of() -> Callable[..., dict[str, torch.Tensor]]:
    def make(*numbers: int, size: int = 12) -> dict[str, torch.Tensor]:
        return {key_of(number): torch.full((size,), float(number)) for number in numbers}

    return make


@pytest.fixture
def space_at(tmp_path: Path) -> Callable[..., Space]:
    """A space as a process of its own would see it."""

    def make(name: str = "one", **options: Any) -> Space:
        return CacheStore(tmp_path / "cache", **options).space(digest_of({"name": name}), {"name": name})

    return make
