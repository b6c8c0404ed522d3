"""Occupancy: which adapter a language model carries, and which call is running on it.

An adapter changes the language model that it is attached to, so the model *object* carries at most one at a time,
however many backbones hold it. Calls of one language model run one after the other, from whatever thread they come;
attach, swap and detach wait for the running call.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import nn

from inlay.hub.errors import InlayError

__all__ = ["AttachError", "Named", "Occupancy", "occupancy_of"]


class AttachError(InlayError):
    """An adapter or a language model is in use, or an adapter is not attached."""


class Named(Protocol):
    """The owner of a language model: an attachment, with the name of its adapter."""

    name: str
    adapter: nn.Module | None


class Occupancy:
    """The owner of one language model, and the lock that orders its calls."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._calls = 0
        self._owner: weakref.ref[Named] | None = None

    @property
    def owner(self) -> str | None:
        """Name of the attached adapter, or None."""
        owner = None if self._owner is None else self._owner()
        return None if owner is None else owner.name

    @property
    def holders(self) -> tuple[object, ...]:
        """The owner and its adapter, which a swap changes; equal while the language model computes the same."""
        owner = None if self._owner is None else self._owner()
        return owner, None if owner is None else owner.adapter

    def claim(self, owner: Named) -> None:
        """Make an attachment the owner.

        Raises:
            AttachError: there is an owner already.
        """
        if (present := self.owner) is not None:
            raise AttachError(
                f"this language model carries adapter {present!r}. One adapter at a time can change a language model, "
                "also where several backbones hold it: call detach() on that adapter, or model.swap(other)"
            )
        self._owner = weakref.ref(owner)

    def release(self, owner: weakref.ref[Any]) -> None:
        """Have no owner any more, if this is the owner."""
        if self._owner is not None and self._owner() is owner():
            self._owner = None

    @contextmanager
    def call(self) -> Iterator[None]:
        """Hold the language model for one call; other threads wait."""
        with self._lock:
            self._calls += 1
            try:
                yield
            finally:
                self._calls -= 1

    @contextmanager
    def change(self, action: str) -> Iterator[None]:
        """Wait for the running call of another thread, and keep new ones out, while the owner changes.

        Raises:
            AttachError: asked for inside a running call of the same thread, for instance from ``on_text``.
        """
        with self._lock:
            if self._calls:
                raise AttachError(f"{action} was called inside a running call of the same model; call it afterwards")
            yield


_OCCUPANCIES: weakref.WeakKeyDictionary[nn.Module, Occupancy] = weakref.WeakKeyDictionary()
_REGISTRY_LOCK = threading.Lock()


def occupancy_of(model: nn.Module) -> Occupancy:
    """The occupancy of a language model: one for each model object of transformers, whatever wraps it.

    Args:
        model: the model of transformers.
    """
    with _REGISTRY_LOCK:
        return _OCCUPANCIES.setdefault(model, Occupancy())
