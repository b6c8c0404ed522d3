"""The adapter: parts, interface and layout. An ``nn.Module`` while it trains, a bundle when it is saved.

What trains is what the adapter holds; the backbone never does. Several adapters can sit on one backbone in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from inlay.adapters.backbone import PROMPT_PORT, Backbone
from inlay.adapters.bundles.bundle_io import Contents, to_bundle
from inlay.adapters.bundles.hub_methods import Publishable
from inlay.adapters.bundles.storage_dtype import DiskDtype
from inlay.adapters.compatibility import canary
from inlay.adapters.compatibility.admission import Admission, admit
from inlay.adapters.compatibility.ports import IncompatibleBackbone, Report, check, generator_port
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import InputProjector, ProjectorConfig, new_projector
from inlay.adapters.language.prompt_tokenizer import Prompts
from inlay.adapters.llm_parts.lora import LoraConfig, LoraError, LoraPart
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.adapters.llm_parts.token_rows import TokenRows, TokenRowsError, TokensConfig
from inlay.adapters.media.modality import Modality
from inlay.adapters.model import MultimodalModel
from inlay.adapters.outputs import OutputConfig, OutputProjector, new_output
from inlay.adapters.outputs.fit import disagreement
from inlay.adapters.parts.part import AttachError, OtherWeightsWarning, Part
from inlay.adapters.parts.placement import like_weights
from inlay.hub.format.bundle import Bundle
from inlay.hub.format.manifest import CanarySpec, PortSpec, TrainingSpec

__all__ = ["Adapter", "AttachError", "AttachedModel", "OtherWeightsWarning", "Part"]


@dataclass(frozen=True)
class _Attached:
    backbone: Backbone
    undo: ExitStack
    signals: Signals


class Adapter(Publishable):
    """Input projectors, output projectors, token rows and LoRA for one kind of backbone.

    Args:
        system: the system from the literature, such as ``llava``.
        name: a name for people.
        interface: what each port must be like.
        layout: how conversations are laid out.
        inputs: modality -> input projector.
        outputs: modality -> output projector; each reads the signal tokens of its modality.
        tokens: rows for new tokens, or None.
        lora: LoRA on the LLM, or None.
        training: where the weights come from.
        canary: the stored test input, see :mod:`inlay.adapters.compatibility.canary`.
        license: under which the weights are published.

    Raises:
        AttachError: an output projector, its signal tokens and its port do not agree.
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
        self.lora = lora
        self.training_facts, self.canary, self.license = training, canary, license
        self._attached: _Attached | None = None
        self._admission: Admission | None = None
        read = {modality: self.output(modality).config for modality in self.outputs}
        if contradiction := disagreement(read, tokens.config.signals if tokens is not None else {}, self.interface):
            raise AttachError(contradiction)

    @classmethod
    def for_backbone(
        cls,
        backbone: Backbone,
        *,
        system: str,
        name: str,
        layout: Layout,
        inputs: Mapping[str, ProjectorConfig],
        shared: bool = False,
        outputs: Mapping[Modality, OutputConfig] | None = None,
        tokens: TokensConfig | None = None,
        lora: LoraConfig | None = None,
    ) -> Adapter:
        """A new adapter whose widths are read from the backbone.

        Args:
            backbone: what it is for; on the meta device the parts are created there too.
            system: as above.
            name: as above.
            layout: as above.
            inputs: modality -> configuration of its projector, such as ``MlpConfig()``; widths may be left out.
            shared: one input projector serves all modalities, as in NExT-GPT.
            outputs: modality -> configuration of its output projector; widths and counts may be left out.
            tokens: strings of the new tokens, or None.
            lora: LoRA's configuration, or None.
        """
        device = "meta" if backbone.device.type == "meta" else "cpu"
        ports = {"llm": backbone.llm.port}
        projectors: dict[str, Any] = {}
        for modality, config in inputs.items():
            encoder = backbone.encoder(modality)
            ports[modality] = encoder.port
            with torch.device(device):
                projectors[modality] = new_projector(config, width_in=encoder.width, width_out=backbone.llm.width)
            if _reads_prompt(projectors[modality]):
                sizes: Any = projectors[modality].config
                ports[PROMPT_PORT] = backbone.prompter().port_for(sizes.vocabulary)
        if shared and len(configs := {repr(p.config) for p in projectors.values()}) > 1:
            raise AttachError(f"one projector for all modalities needs features of one width, got {'; '.join(configs)}")
        if shared:
            projectors = dict.fromkeys(projectors, next(iter(projectors.values())))
        drawn = {}
        for out, wanted in (outputs or {}).items():
            generator = backbone.generator(out)
            ports[generator_port(out)] = generator.port
            sizes = {"width_in": backbone.llm.width, "tokens": generator.tokens, "width_out": generator.width}
            signals = len(tokens.signals.get(out, ())) if tokens is not None else 0
            with torch.device(device):
                drawn[str(out)] = new_output(wanted, **sizes, signals=signals)
        return cls(
            system=system,
            name=name,
            interface=ports,
            layout=layout,
            inputs=projectors,
            outputs=drawn,
            tokens=TokenRows.for_language(backbone.llm, tokens) if tokens is not None else None,
            lora=LoraPart.for_model(backbone.llm.model, lora) if lora else None,
        )

    def parts(self) -> Iterator[Part]:
        """Every trainable piece; together they hold every parameter of the adapter."""
        # A module that serves several modalities is one part, under the first of its names.
        for module in dict.fromkeys(self.inputs.values()):
            modality = next(name for name, other in self.inputs.items() if other is module)
            yield Part(f"inputs.{modality}", str(self.projector(modality).kind), module)
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
            raise AttachError(f"inputs.{modality}: {type(module).__name__} is not an input projector")
        return module

    def output(self, modality: str) -> OutputProjector:
        """The output projector of a modality."""
        module = self.outputs[modality]
        if not isinstance(module, OutputProjector):
            raise AttachError(f"outputs.{modality}: {type(module).__name__} is not an output projector")
        return module

    @property
    def signals(self) -> Signals:
        """The signal tokens, with their ids while the adapter is attached."""
        return self._attached.signals if self._attached is not None else Signals()

    def reads_prompt(self, modality: str) -> bool:
        """Whether the input projector of a modality takes in the words of a medium's turn."""
        return _reads_prompt(self.inputs[modality])

    def project(self, modality: str, features: Tensor, prompts: Prompts | None = None) -> Tensor:
        """Frozen features to LLM embeddings: ``[n, features, width_in]`` -> ``[n, tokens, width_out]``.

        Args:
            modality: which projector.
            features: of ``n`` media.
            prompts: the words of each medium's turn, for a projector that reads them.
        """
        module = self.inputs[modality]
        read = () if prompts is None else (prompts.ids, prompts.mask)
        projected: Tensor = module(*(like_weights(module, tensor) for tensor in (features, *read)))
        return projected

    def condition(self, modality: str, states: Tensor) -> Tensor:
        """States of signal tokens to a generator's conditioning: ``[n, signals, width]`` -> ``[n, tokens, width]``.

        Args:
            modality: which output projector.
            states: last hidden states plus input embeddings, see :meth:`MultimodalModel.signal_states`.
        """
        module = self.outputs[modality]
        projected: Tensor = module(like_weights(module, states))
        return projected

    def compatibility(self, backbone: Backbone) -> Report:
        """The verdict on a backbone, without attaching."""
        return check(self.interface, backbone.ports)

    def attach(self, backbone: Backbone, *, strict: bool = False, verify: bool = True) -> MultimodalModel[Adapter]:
        """Plug into a backbone.

        Args:
            backbone: the frozen models; their tensors are not changed.
            strict: refuse a backbone that merely fits.
            verify: run the bundle's canary when the weights are exactly those that it was trained on.

        Raises:
            IncompatibleBackbone: with a table of what differs.
            AttachError: this adapter or the backbone is already taken.
            CanaryError: attached, but not doing what it did when it was saved.
        """
        if self._attached is not None:
            raise AttachError(f"adapter {self.name!r} is already attached; call detach() first")
        if backbone.attached is not None:
            raise AttachError(f"the backbone holds adapter {backbone.attached!r}; detach it, or use model.swap(other)")
        report = self._admitted(backbone, strict)
        undo, signals = ExitStack(), Signals()
        try:
            if self.tokens is not None:
                rows = self.tokens.attach(backbone.llm)
                undo.callback(rows.undo)
                signals = Signals.of(self.tokens.config, rows.ids)
            if self.lora is not None:
                undo.callback(self.lora.attach(backbone.llm.model).undo)
        except (LoraError, TokenRowsError) as error:
            undo.close()
            raise IncompatibleBackbone(report, self.name, str(error)) from error
        self._attached = _Attached(backbone, undo, signals)
        backbone.attached = self.name
        model = MultimodalModel(backbone, self)
        if verify:
            try:
                self._verify(model, report)
            except BaseException:
                self.detach()
                raise
        return model

    def _admitted(self, backbone: Backbone, strict: bool) -> Report:
        report = self.compatibility(backbone)
        admit(report, self.name, strict=strict, trained=self.training_facts is not None)
        device = backbone.device
        if any(parameter.device != device for parameter in self.parameters()):
            self.to(device)
        self._admission = Admission(backbone.identity, report)
        return report

    def _verify(self, model: MultimodalModel[Adapter], report: Report) -> None:
        """Run the canary."""
        llm = model.backbone.llm
        if self.canary is not None and report.verdict == "exact":
            canary.verify(model.probe, self.canary, llm.dtype, model.probe_conditioning)
        self._admission = Admission(model.backbone.identity, report, verified=True)

    def replaced_by(self, other: Adapter, *, strict: bool = False) -> bool:
        """Let another adapter take this one's place: its matrices go into the layers that are there already.

        The first time that the other comes to this backbone it is checked as by :meth:`attach`, its canary included.
        From then on a change takes microseconds, however large the adapters are. Projectors may be of any kind.

        Args:
            other: not attached.
            strict: as for :meth:`attach`.

        Returns:
            False, and nothing has changed, where only :meth:`detach` and :meth:`attach` will do: one of the two has
            token rows, or their LoRA differ in targets, shapes, rank, scale or dropout.

        Raises:
            InlayError: as of :meth:`attach`; this adapter stays.
        """
        attached = self._attached
        if attached is None or other._attached is not None or not self._is_like(other):
            return False
        backbone = attached.backbone
        if other._admission is not None and other._admission.holds(backbone.identity, strict=strict, verified=True):
            other._take(self)
            return True
        report = other._admitted(backbone, strict)
        other._take(self)
        try:
            other._verify(MultimodalModel(backbone, other), report)
        except BaseException:
            self._take(other)
            raise
        return True

    def admit(self, backbone: Backbone) -> None:
        """See whether this adapter may be used on a backbone without being attached, and bring its weights there.

        Raises:
            AttachError: it is attached.
            IncompatibleBackbone: it does not fit.
        """
        if self._attached is not None:
            raise AttachError(f"adapter {self.name!r} is attached to a backbone; call detach() first")
        if self._admission is None or not self._admission.holds(backbone.identity):
            self._admitted(backbone, strict=False)

    def _is_like(self, other: Adapter) -> bool:
        if self.tokens is not None or other.tokens is not None:
            return False
        if self.lora is None or other.lora is None:
            return self.lora is other.lora
        return self.lora.is_like(other.lora)

    def _take(self, from_: Adapter) -> None:
        """The place of an attached adapter, which is detached then."""
        if self.lora is not None and from_.lora is not None:
            from_.lora.hand_over(self.lora)
        self._attached, from_._attached = from_._attached, None
        if self._attached is not None:
            self._attached.backbone.attached = self.name

    def detach(self) -> None:
        """Take the adapter off; the backbone is bit for bit what it was."""
        if self._attached is None:
            raise AttachError(f"adapter {self.name!r} is not attached")
        attached, self._attached = self._attached, None
        attached.undo.close()
        attached.backbone.attached = None

    def sparing(self) -> AbstractContextManager[None]:
        """While this lasts, frozen parts that do nothing yet are left out of the forward pass; no number changes."""
        return self.lora.sparing() if self.lora is not None else nullcontext()

    @property
    def attached(self) -> bool:
        """Whether the adapter sits on a backbone."""
        return self._attached is not None

    def bundle(self, dtype: DiskDtype) -> Bundle:
        """The bundle of this adapter, weights rounded to ``dtype`` in place; the canary is run where it is attached."""
        self.round_to(dtype)
        if self._attached is not None:
            model = MultimodalModel(self._attached.backbone, self)
            self.canary = canary.record(model.probe, model.modalities, model.probe_conditioning, model.makes)
        contents = Contents(
            system=self.system,
            name=self.name,
            interface=self.interface,
            layout=self.layout,
            inputs=dict(self.inputs.items()),
            outputs=dict(self.outputs.items()),
            tokens=self.tokens,
            lora=self.lora,
            training=self.training_facts,
            canary=self.canary,
            license=self.license,
        )
        return to_bundle(contents, dtype)


def _reads_prompt(projector: nn.Module) -> bool:
    return bool(getattr(projector, "reads_prompt", False))


AttachedModel: TypeAlias = MultimodalModel[Adapter]
"""What ``attach`` returns."""
