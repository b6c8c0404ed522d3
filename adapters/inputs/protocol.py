"""The interface of input projectors: features of an encoder in, embeddings for the LLM out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from inlay.hub.errors import InlayError

__all__ = ["InputProjector", "ProjectorConfig", "ProjectorError"]


class ProjectorError(InlayError):
    """Features, prompts or weights do not fit an input projector."""


class ProjectorConfig(Protocol):
    """The configuration of an input projector: a frozen dataclass whose class determines which projector is built."""

    @property
    def width_in(self) -> int:
        """Values per feature; 0 until it is read from the backbone."""
        ...

    @property
    def width_out(self) -> int:
        """Values per LLM embedding; 0 until it is read from the backbone."""
        ...


@runtime_checkable
class InputProjector(Protocol):
    """An ``nn.Module`` between an encoder and the LLM."""

    kind: str
    """The name that bundles store."""
    config: Any
    """A dataclass with the fields ``width_in`` and ``width_out``."""
    reads_prompt: bool
    """Whether ``forward`` also takes the words of the medium's turn."""

    def tokens(self, features: int) -> int:
        """The number of LLM positions for a number of features."""
        ...

    @property
    def forward(self) -> Callable[..., Tensor]:
        """``[n, features, width_in]`` -> ``[n, tokens, width_out]``.

        A projector that reads the prompt takes ``forward(features, prompt_ids, prompt_mask)``. Ids and mask have the
        shape ``[n, L]``, one row for each medium; the ids are those of a tokenizer with ``config.vocabulary`` entries.
        """
        ...
