"""The parts of an adapter, with its interface and layout.

These parts declare which parameters train; the backbone never trains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn

from inlay.adapters.compatibility.digest import exact_digest
from inlay.adapters.compatibility.verdict import Admission
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.core.attachment import Attachment
from inlay.adapters.core.prompts import Prompts
from inlay.adapters.core.tiles import Tiles, arrange
from inlay.adapters.inputs import InputProjector
from inlay.adapters.language.occupancy import AttachError
from inlay.adapters.llm_parts.lora import LoraPart
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.llm_parts.token_rows import TokenRows
from inlay.adapters.outputs import OutputProjector
from inlay.adapters.outputs.fit import disagreement
from inlay.adapters.parts.newline import NewlineRow
from inlay.adapters.parts.part import Part
from inlay.hub.errors import InlayError
from inlay.hub.format.manifest import CanarySpec, PortSpec, TrainingSpec

__all__ = ["NEWLINE", "AdapterError", "AdapterParts", "newline_problem"]

NEWLINE = "inputs.image.newline"
"""Name of the part with the embedding that ends each row of a tiled picture's features."""


class AdapterError(InlayError):
    """An adapter cannot be built from these values, or its parts contradict each other."""


class AdapterParts(nn.Module):
    """Input projectors, output projectors, token rows and LoRA, with the interface and layout that they need.

    Args:
        system: the system from the literature, such as ``llava``.
        name: a free name, shown to users.
        interface: the required properties of each port.
        layout: how conversations are laid out.
        inputs: modality -> input projector; one module may serve several modalities.
        outputs: modality -> output projector; each reads the signal tokens of its modality.
        tokens: embedding rows for new tokens, or None.
        newline: the embedding that ends each row of a tiled picture's features, for a layout whose tiling has one.
        lora: LoRA on the LLM, or None.
        training: provenance of the weights.
        canary: the stored test input and logits of these weights, see :mod:`inlay.adapters.compatibility.canary`.
        license: licence of the weights.

    Raises:
        AdapterError: an output projector, its signal tokens and its port contradict each other, or the layout's
            tiling and the newline do.
    """

    def __init__(
        self,
        *,
        system: str,
        name: str,
        interface: Mapping[str, PortSpec],
        layout: Layout,
        inputs: Mapping[str, nn.Module],
        outputs: Mapping[str, nn.Module] | None = None,
        tokens: TokenRows | None = None,
        newline: NewlineRow | None = None,
        lora: LoraPart | None = None,
        training: TrainingSpec | None = None,
        canary: CanarySpec | None = None,
        license: str | None = None,
    ) -> None:
        super().__init__()
        self.system, self.name, self.layout = system, name, layout
        self.interface = dict(interface)
        self.inputs = nn.ModuleDict(dict(inputs))
        self.outputs = nn.ModuleDict(dict(outputs or {}))
        self.tokens = tokens
        self.newline = newline
        self.lora = lora
        self.training_facts, self.license = training, license
        self._canary: tuple[CanarySpec, str] | None = None
        self.canary = canary
        self._attachment: Attachment | None = None
        self._admission: Admission | None = None
        self.validate()

    def validate(self) -> None:
        """Check that the parts agree with each other.

        Raises:
            AdapterError: they contradict each other.
        """
        read = {modality: self.output(modality).config for modality in self.outputs}
        if contradiction := disagreement(
            read, self.tokens.config.signals if self.tokens is not None else {}, self.interface
        ):
            raise AdapterError(contradiction)
        if problem := newline_problem(self.layout, self.inputs, self.newline):
            raise AdapterError(problem)

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle contains only the parts: it is not attached and has no reference to the backbone."""
        return {**self.__dict__, "_attachment": None, "_admission": None}

    def parts(self) -> Iterator[Part]:
        """All parts by name; together they have every parameter of the adapter."""
        # A module for several modalities is one part, under the first of its names.
        for module in dict.fromkeys(self.inputs.values()):
            modality = next(name for name, other in self.inputs.items() if other is module)
            yield Part(f"inputs.{modality}", str(self.projector(modality).kind), module)
        if self.newline is not None:
            yield Part(NEWLINE, self.newline.kind, self.newline)
        for modality, module in self.outputs.items():
            yield Part(f"outputs.{modality}", str(self.output(modality).kind), module)
        if self.tokens is not None:
            yield Part("tokens", self.tokens.kind, self.tokens)
        if self.lora is not None:
            yield Part("lora", self.lora.kind, self.lora)

    def projector(self, modality: str) -> InputProjector:
        """The input projector of a modality."""
        module = self.inputs[modality]
        if not isinstance(module, InputProjector):
            raise AdapterError(f"inputs.{modality}: expected an input projector, got {type(module).__name__}")
        return module

    def output(self, modality: str) -> OutputProjector:
        """The output projector of a modality."""
        module = self.outputs[modality]
        if not isinstance(module, OutputProjector):
            raise AdapterError(f"outputs.{modality}: expected an output projector, got {type(module).__name__}")
        return module

    def reads_prompt(self, modality: str) -> bool:
        """Whether the input projector of a modality reads the instruction of the medium's turn."""
        return bool(self.projector(modality).reads_prompt)

    def project(self, modality: str, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Project frozen features to LLM embeddings: ``[n, features, width_in]`` -> ``[n, tokens, width_out]``.

        Args:
            modality: the modality of the input projector.
            features: the features of ``n`` media, on any device.
            prompts: the instruction of each medium's turn, for a projector that reads it.
        """
        module = self.inputs[modality]
        weight = next(module.parameters())
        instruction = () if prompts is None else (prompts.ids.to(weight.device), prompts.mask.to(weight.device))
        projected: Tensor = module(features.to(weight.device, weight.dtype), *instruction)
        return projected

    def condition(self, modality: str, states: Tensor) -> Tensor:
        """Project signal states to a generator's conditioning: ``[n, signals, width]`` -> ``[n, tokens, width]``.

        Args:
            modality: the modality of the output projector.
            states: last hidden states plus input embeddings, see :meth:`ModelCore.signal_states`; on any device.
        """
        module = self.outputs[modality]
        weight = next(module.parameters())
        conditioning: Tensor = module(states.to(weight.device, weight.dtype))
        return conditioning

    def sequences(self, projected: Tensor, tiles: Tiles) -> list[Tensor]:
        """Projected tiles ``[tiles, tokens, width]`` of several pictures -> ``[positions, width]`` of each.

        Raises:
            AdapterError: the rule has a newline, and this adapter has none.
        """
        if tiles.rule.newline and self.newline is None:
            raise AdapterError(
                f"tiling {tiles.rule.text} ends each row of features with a newline, and this adapter has none; build "
                "the adapter with a layout of this tiling"
            )
        return arrange(projected, tiles, self.newline.row if tiles.rule.newline and self.newline else None)

    @property
    def attached(self) -> bool:
        """Whether the adapter is attached to a backbone."""
        return self._attachment is not None

    @property
    def attachment(self) -> Attachment:
        """The attachment.

        Raises:
            AttachError: the adapter is not attached.
        """
        if self._attachment is None:
            raise AttachError(f"adapter {self.name!r} is not attached; call adapter.attach(backbone) first")
        return self._attachment

    @property
    def signals(self) -> Signals:
        """The signal tokens, with their ids while the adapter is attached."""
        return self._attachment.signals if self._attachment is not None else Signals()

    @property
    def canary(self) -> CanarySpec | None:
        """The canary, if it was recorded with the current weights; otherwise None."""
        if self._canary is not None and exact_digest(self) == self._canary[1]:
            return self._canary[0]
        return None

    @canary.setter
    def canary(self, spec: CanarySpec | None) -> None:
        self._canary = None if spec is None else (spec, exact_digest(self))

    @property
    def canary_is_stale(self) -> bool:
        """Whether there is a canary that was recorded with other weights than the current ones."""
        return self._canary is not None and self.canary is None

    def sparing(self) -> AbstractContextManager[None]:
        """A context in which frozen parts without effect are left out of the forward pass; outputs are equal."""
        return self.lora.sparing() if self.lora is not None else nullcontext()


def newline_problem(
    layout: Layout, inputs: nn.ModuleDict | Mapping[str, nn.Module], newline: NewlineRow | None
) -> str | None:
    """The reason why a layout's tiling and the newline contradict each other; None if they agree."""
    rule = layout.tiling_for("image") if "image" in inputs else None
    if (rule is not None and rule.newline) == (newline is not None):
        return None
    if newline is None:
        return f"tiling {layout.tiling} ends each row of features with a newline, and this adapter has none"
    return f"this adapter has a newline, and its layout has no tiling that uses it (tiling: {layout.tiling or 'none'})"
