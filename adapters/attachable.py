"""What a model asks of the adapter that it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor, nn

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.core.prompts import Prompts
from inlay.adapters.inputs import InputProjector
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.llm_parts.token_rows import TokenRows

__all__ = ["Attachable"]


class Attachable(Protocol):
    """What a model asks of its adapter; :class:`inlay.adapters.Adapter` is the one that does it."""

    layout: Layout
    inputs: nn.ModuleDict
    outputs: nn.ModuleDict
    tokens: TokenRows | None
    lora: LoraPart | None
    name: str

    @property
    def training(self) -> bool:
        """Whether it trains."""
        ...

    def train(self, mode: bool = True) -> object:
        """Switch dropout on or off."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """What trains."""
        ...

    def projector(self, modality: str) -> InputProjector:
        """The input projector of a modality."""
        ...

    def reads_prompt(self, modality: str) -> bool:
        """Whether the input projector of a modality takes in the words of a medium's turn."""
        ...

    def project(self, modality: str, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Frozen features to LLM embeddings."""
        ...

    @property
    def signals(self) -> Signals:
        """The signal tokens, with their ids in the backbone."""
        ...

    def condition(self, modality: str, states: Tensor) -> Tensor:
        """States of signal tokens to a generator's conditioning."""
        ...

    def attach(self, backbone: Backbone, *, strict: bool = False, verify: bool = True) -> Any:
        """Plug into a backbone; returns the model."""
        ...

    def replaced_by(self, other: Any, *, strict: bool = False) -> bool:
        """Let another adapter take this one's place; False where that needs :meth:`detach` and :meth:`attach`."""
        ...

    def admit(self, backbone: Backbone) -> None:
        """See whether this adapter may be used on a backbone without being attached."""
        ...

    def detach(self) -> None:
        """Leave the backbone."""
        ...
