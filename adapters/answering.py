"""What those who answer with a model ask of it; :class:`inlay.adapters.MultimodalModel` is the one that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.core.batch import Batch
from inlay.adapters.core.encode import Encoded
from inlay.adapters.generators import Made
from inlay.adapters.media.modality import Modality

__all__ = ["Answering"]


class Answering(Protocol):
    """Backbone plus attached adapter."""

    backbone: Backbone
    adapter: Any

    @property
    def tokens(self) -> Mapping[Modality, int]:
        """LLM positions per medium of each modality."""
        ...

    def with_adapter(self, adapter: Any) -> Answering:
        """The same backbone, looked at with an adapter that is not attached."""
        ...

    def encode(
        self, messages: Sequence[Message], *, layout: Layout | None = None, generation: bool = False, name: str = ""
    ) -> Encoded:
        """One conversation as ids."""
        ...

    def collate(
        self,
        rows: Sequence[Encoded],
        *,
        layout: Layout | None = None,
        generation: bool = False,
        features: Callable[[MediaPart], Tensor] | None = None,
    ) -> Batch:
        """Pad rows and load their media."""
        ...

    def embeddings(self, batch: Batch) -> Tensor:
        """The LLM's input ``[B, T, width]``."""
        ...

    def write(self, embeddings: Tensor, mask: Tensor, *, stop: Sequence[str], **options: Any) -> list[list[int]]:
        """New token ids."""
        ...

    def make(self, modality: Modality, states: Tensor, **options: Any) -> list[Made]:
        """Media from states of signal tokens."""
        ...
