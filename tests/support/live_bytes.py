"""The peak of the memory that tensors hold, counted by operation, so that it does not depend on the machine's load."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveBytes"]


class LiveBytes(TorchDispatchMode):
    """Context that counts the storages that operations inside create, for as long as a tensor holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_id(value) for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and _id(value) not in given | self._held:
                storage = value.untyped_storage()
                key, size = storage._cdata, storage.nbytes()
                self._held.add(key)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, key, size)
        return result

    def _freed(self, key: int, size: int) -> None:
        self._held.discard(key)
        self.now -= size


def _id(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
