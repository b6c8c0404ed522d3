"""The base of encoders around one frozen model: device, dtype and port; the hidden states that are the features."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from inlay.adapters.compatibility.digest import weights_digest
from inlay.hub.format.manifest import PortSpec

__all__ = ["FrozenEncoder", "Layer", "states_of"]

Layer: TypeAlias = int | Literal["last"]
"""Index of the hidden states of transformers, or ``last`` for those behind the last norm."""


class FrozenEncoder(nn.Module):
    """An encoder with one frozen model.

    A subclass sets ``model``, ``source`` and ``revision`` and has the attributes or properties ``family``, ``tokens``,
    ``width`` and ``settings``.
    """

    model: Any
    source: str | None
    """The Hub id, or another name from which the same weights can be loaded."""
    revision: str | None
    """The commit on the Hub, 40 hex digits."""

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights and of the features."""
        found: torch.dtype = next(self.model.parameters()).dtype
        return found

    @property
    def trunk(self) -> nn.Module:
        """The modules that compute the features; the digest of their weights identifies this encoder."""
        found: nn.Module = self.model
        return found

    @cached_property
    def port(self) -> PortSpec:
        """The interface that an adapter stores and compares when it is attached."""
        own: Any = self
        return PortSpec(
            kind="encoder",
            family=own.family,
            width=own.width,
            tokens=own.tokens,
            source=self.source,
            revision=self.revision,
            weights=weights_digest(self.trunk),
            settings=own.settings,
        )


def states_of(model: Any, inputs: Tensor, layer: Layer) -> Tensor:
    """Hidden states ``[n, tokens, width]`` of a layer of one of transformers' models."""
    output = model(inputs, output_hidden_states=layer != "last")
    states: Tensor = output.last_hidden_state if layer == "last" else output.hidden_states[layer]
    return states
