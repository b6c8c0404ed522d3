"""An attachment: one adapter on one backbone, with the steps that undo it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from torch import nn

from inlay.adapters.backbone import Backbone
from inlay.adapters.language.occupancy import AttachError
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.parts.undo import Undo

__all__ = ["Attachment", "exclusive"]

F = TypeVar("F", bound=Callable[..., Any])


class Attachment:
    """One adapter on one backbone; it ends with ``undo.close()``, or when it is garbage collected.

    The steps of ``undo`` must not refer to the attachment, which could then never be garbage collected.

    Args:
        backbone: the frozen models.
        adapter: the adapter that is about to be attached.
        name: the adapter's name, for messages.
    """

    def __init__(self, backbone: Backbone, adapter: nn.Module, name: str) -> None:
        self.backbone = backbone
        self.adapter: nn.Module | None = adapter
        """The attached adapter; None after detach."""
        self.name = name
        self.signals = Signals()
        self.undo = Undo()
        """Undoes every change to the language model, the last one first."""
        # If an adapter is garbage collected without detach, another one can be attached to the language model.
        dropped = weakref.finalize(self, self.undo.close)
        dropped.atexit = False
        self.undo.callback(dropped.detach)

    def require(self, adapter: nn.Module) -> None:
        """Check that an adapter is the attached one.

        Raises:
            AttachError: it was detached, or another adapter took its place.
        """
        if self.adapter is not adapter:
            happened = "was detached" if self.adapter is None else f"was replaced by adapter {self.name!r}"
            raise AttachError(
                f"the adapter of this model {happened}, so the model cannot be used any more; attach the adapter "
                "again: model = adapter.attach(backbone)"
            )


def exclusive(method: F) -> F:
    """Decorate a method that uses the language model: it raises after detach, and waits for other threads."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.held():
            return method(self, *args, **kwargs)

    return cast(F, call)
