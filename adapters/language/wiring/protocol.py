"""The differences between decoder-only models and encoder-decoders, as one interface with two implementations.

A decoder-only model (OPT, LLaMA, Qwen) reads media, question and answer as one sequence and predicts the token after
each position. An encoder-decoder (T5, Raffel et al., 2020, https://arxiv.org/abs/1910.10683) reads media and everything
up to the last question in its encoder, the *source*; the last answer is the *target* of its decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.hub.errors import InlayError

__all__ = ["LanguageModelError", "Wiring"]


class LanguageModelError(InlayError):
    """The language model or its tokenizer lacks a property that an adapter needs, or an argument does not fit it."""


class Wiring(Protocol):
    """The methods of both kinds that :class:`inlay.adapters.language.model.LanguageModel` uses."""

    def context(self, model: Any) -> int | None:
        """The longest sequence, in positions; None if the model sets no limit."""
        ...

    def settings(self, model: Any) -> dict[str, int]:
        """Numbers of layers, which an adapter's interface records."""
        ...

    def arrange(
        self, laid: Sequence[Segment], tokenizer: Any, *, generation: bool
    ) -> tuple[list[Segment], list[Text] | None]:
        """Segments of a conversation -> those of the input sequence, and those of a separate target or None."""
        ...

    def supervised(self, labels: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Rows of the logits that predict a label, ``[B, T]`` bool, and these labels, ``[rows.sum()]``."""
        ...

    def plan(
        self, labels: Tensor, mask: Tensor, target: Tensor | None, branches: Sequence[Sequence[int]] = ()
    ) -> LossPlan:
        """:meth:`supervised` as a loss plan."""
        ...

    def run(
        self, model: Any, embeddings: Tensor, mask: Tensor | None, target: Tensor | None, pad_id: int, **more: Any
    ) -> Tensor:
        """One forward pass: logits ``[B, T, vocabulary]``; without a mask there is no padding."""
        ...

    def states(self, model: Any, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states ``[B, T, width]`` at the positions of the input."""
        ...

    def written(self, ids: Tensor) -> Tensor:
        """The new ids in the output of transformers' ``generate``."""
        ...
