"""Occupancy: the adapter that is attached to a language model, and the call that is running on it.

An adapter changes the language model to which it is attached, so at most one at a time can be attached to a model
*object*, also if several backbones share it. Calls of one language model are serialised over all threads; attach, swap
and detach wait for the running call.
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
        """The owner and its adapter (which a swap changes); equal while the language model gives the same results."""
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
                "also if backbones share it: call detach() on that adapter, or model.swap(other)"
            )
        self._owner = weakref.ref(owner)

    def release(self, owner: weakref.ref[Any]) -> None:
        """Remove the owner, if it is this one."""
        if self._owner is not None and self._owner() is owner():
            self._owner = None

    @contextmanager
    def call(self) -> Iterator[None]:
        """Reserve the language model for one call; other threads wait."""
        with self._lock:
            self._calls += 1
            try:
                yield
            finally:
                self._calls -= 1

    @contextmanager
    def change(self, action: str) -> Iterator[None]:
        """Reserve the language model for a change of the owner: wait for the running call and block new ones.

        Raises:
            AttachError: called inside a running call of the same thread, for instance from ``on_text``.
        """
        with self._lock:
            if self._calls:
                raise AttachError(f"{action} was called inside a running call of the same model; call it afterwards")
            yield


_OCCUPANCIES: weakref.WeakKeyDictionary[nn.Module, Occupancy] = weakref.WeakKeyDictionary()
_REGISTRY_LOCK = threading.Lock()


def occupancy_of(model: nn.Module) -> Occupancy:
    """The occupancy of a language model: one per model object of transformers, also if several objects wrap it.

    Args:
        model: the model of transformers.
    """
    with _REGISTRY_LOCK:
        return _OCCUPANCIES.setdefault(model, Occupancy())
