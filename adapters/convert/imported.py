"""The content of a foreign checkpoint in our terms: layout, parts, tensors, and names of its frozen models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.convert.keys import Renamed
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.media.modality import Modality

__all__ = ["BACKBONE", "Imported", "Lora", "Models", "PartSizes", "part_tensors"]

BACKBONE = "backbone."
"""Our name for a frozen tensor: ``backbone.<port>.<name in the model>``."""

PartSizes: TypeAlias = tuple[str, dict[str, Any]]
"""Kind and settings of a part."""


@dataclass(frozen=True, kw_only=True)
class Models:
    """The frozen models of a checkpoint: Hub ids or folders, as ``Backbone.from_pretrained`` takes them."""

    llm: str | None = None
    """The language model; None if the checkpoint does not name it."""
    image: str | None = None
    """The same."""
    prompt: str | None = None
    """Tokenizer of a projector that reads the instruction."""
    own: bool = False
    """Whether :attr:`llm` and :attr:`image` are contained in the checkpoint itself."""
    qformer: bool = False
    """Whether the image encoder includes BLIP-2's frozen Q-Former."""
    image_options: Mapping[str, Any] = field(default_factory=dict)
    """Layer and class token of the image encoder."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of ``Backbone.from_pretrained``."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A LoRA under the names of the bare language model."""

    config: LoraConfig
    """Rank, scale and dropout; the targets are the names of the modules."""
    downs: Mapping[str, Tensor]
    """Module -> ``A`` ``[r, in]``."""
    ups: Mapping[str, Tensor]
    """Module -> ``B`` ``[out, r]``."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A foreign checkpoint after reading, with every tensor assigned or ignored."""

    system: str
    layout: Layout
    models: Models
    inputs: Mapping[str, PartSizes] = field(default_factory=dict)
    """Modality -> input projector."""
    shared: bool = False
    """Whether one input projector serves all modalities."""
    outputs: Mapping[Modality, PartSizes] = field(default_factory=dict)
    """Modality -> output projector."""
    tokens: TokensConfig | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Our name, such as ``inputs.image.layers.0.weight``, -> tensor."""
    fresh: tuple[str, ...] = ()
    """Name prefixes of parameters that the checkpoint does not have, and that keep their initial values."""
    lora: Lora | None = None
    frozen: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Port -> frozen tensors of the checkpoint, read lazily when they are compared with the backbone's."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of tensors that are not used."""


def part_tensors(
    weights: Mapping[str, Tensor], renamed: Renamed
) -> tuple[dict[str, Tensor], dict[str, Mapping[str, Tensor]]]:
    """The trained tensors, read, and the frozen tensors of each port, to be read lazily."""
    trained = {own: weights[name] for own, name in renamed.names.items() if not own.startswith(BACKBONE)}
    ports: dict[str, dict[str, str]] = {}
    for own, name in renamed.names.items():
        if own.startswith(BACKBONE):
            port, _, inner = own.removeprefix(BACKBONE).partition(".")
            ports.setdefault(port, {})[inner] = name
    return trained, {port: _Renaming(weights, names) for port, names in ports.items()}


class _Renaming(Mapping[str, Tensor]):
    """Tensors under other names."""

    def __init__(self, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
        self._weights, self._names = weights, names

    def __getitem__(self, name: str) -> Tensor:
        return self._weights[self._names[name]]

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
