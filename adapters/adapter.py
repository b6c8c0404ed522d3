"""The adapter: parts, interface and layout. An ``nn.Module`` while it trains, a bundle when it is saved.

All parameters of the adapter are trainable; those of the backbone never are. Several adapters can be attached to one
backbone, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch

from inlay.adapters.backbone import Backbone
from inlay.adapters.bundles.hub_methods import HubMethods
from inlay.adapters.compatibility.ports import PROMPT_PORT, generator_port
from inlay.adapters.compatibility.verdict import Report, check
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.core import attach
from inlay.adapters.core.parts import AdapterError
from inlay.adapters.core.tiles import Tiler, keeps_map
from inlay.adapters.inputs import ProjectorConfig, new_projector
from inlay.adapters.llm_parts.lora import LoraConfig, LoraPart
from inlay.adapters.llm_parts.token_rows import TokenRows, TokensConfig
from inlay.adapters.media.modality import Modality
from inlay.adapters.model import MultimodalModel
from inlay.adapters.outputs import OutputConfig, new_output
from inlay.adapters.parts.newline import NewlineConfig, NewlineRow

__all__ = ["Adapter", "AttachedModel"]


class Adapter(HubMethods):
    """Input projectors, output projectors, token rows and LoRA for one kind of backbone.

    The arguments are those of :class:`inlay.adapters.core.parts.AdapterParts`. They are checked against the schema of
    the bundle when the adapter is built, so that every adapter can be saved.

    Raises:
        AdapterError: a value that a bundle cannot store, or parts that contradict each other.
    """

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
        """Create an untrained adapter, with the widths of the backbone.

        Args:
            backbone: the frozen models; on the meta device the parts are created there too.
            system: name of the system from the literature, such as ``llava``.
            name: a free name, shown to users.
            layout: how conversations are laid out.
            inputs: modality -> configuration of its projector, such as ``MlpConfig()``; widths may be left out.
            shared: one input projector serves all modalities, as in NExT-GPT.
            outputs: modality -> configuration of its output projector; widths and counts may be left out.
            tokens: strings of the new tokens, or None.
            lora: LoRA's configuration, or None.

        Raises:
            ProjectorError: a projector cannot take the encoder's number of features.
            TilingError: the layout tiles pictures, and this encoder or projector cannot be tiled.
            AdapterError: parts that contradict each other, or the layout.
        """
        device = "meta" if backbone.device.type == "meta" else "cpu"
        ports = {"llm": backbone.llm.port}
        projectors: dict[str, Any] = {}
        for modality, config in inputs.items():
            encoder = backbone.encoder(modality)
            ports[modality] = encoder.port
            with torch.device(device):
                projectors[modality] = new_projector(config, width_in=encoder.width, width_out=backbone.llm.width)
            projectors[modality].tokens(encoder.tokens)  # refuses a number of features that it cannot take
            if projectors[modality].reads_prompt:
                sizes: Any = projectors[modality].config
                ports[PROMPT_PORT] = backbone.prompter().port_for(sizes.vocabulary)
        if shared and len(configs := {repr(p.config) for p in projectors.values()}) > 1:
            raise AdapterError(f"one projector for all modalities needs one feature width, got {'; '.join(configs)}")
        if shared:
            projectors = dict.fromkeys(projectors, next(iter(projectors.values())))
        newline = None
        if (rule := layout.tiling_for("image")) is not None and "image" in projectors:
            encoder = backbone.encoder("image")
            Tiler.of(rule, encoder, projectors["image"].tokens(encoder.tokens))  # raises where it cannot be tiled
            if rule.newline:
                if not keeps_map(projectors["image"], encoder.tokens):
                    raise AdapterError(
                        f"tiling {rule.text}: expected a projector whose positions are a map of the picture, such as "
                        f"'mlp', got {projectors['image'].kind!r}; choose another tiling, such as 'tiles', or set "
                        "keeps_map = True in the class of a projector that merges squares of features"
                    )
                with torch.device(device):
                    newline = NewlineRow(NewlineConfig(width=backbone.llm.width))
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
            layout=layout.dated(backbone.llm.tokenizer),
            inputs=projectors,
            outputs=drawn,
            tokens=TokenRows.for_language(backbone.llm, tokens) if tokens is not None else None,
            newline=newline,
            lora=LoraPart.for_model(backbone.llm.model, lora, device=device) if lora else None,
        )

    def compatibility(self, backbone: Backbone) -> Report:
        """Compare the interface with a backbone, without attaching: exact, fits or incompatible."""
        return check(self.interface, backbone.ports)

    def attach(self, backbone: Backbone, *, strict: bool = False, verify: bool = True) -> MultimodalModel[Adapter]:
        """Attach to a backbone. On any exception the backbone is restored.

        The adapter stays attached until :meth:`detach`, or until neither the adapter nor the model is referred to.

        Args:
            backbone: the frozen models; their tensors are not changed.
            strict: refuse a backbone with other weights than the one of the training, or without a generator that the
                adapter uses.
            verify: run the canary (a stored test input with its logits), if the backbone has the weights that it was
                recorded with.

        Raises:
            IncompatibleBackbone: with a table of the differences.
            AttachError: this adapter is attached, or the language model carries another adapter, of ours or of another
                library.
            CanaryError: the attached model gives other logits than when the adapter was saved.
        """
        attach.attach(self, backbone, strict=strict, verify=verify)
        try:
            return MultimodalModel(backbone, self)
        except BaseException:
            self.detach()
            raise

    def detach(self) -> None:
        """Detach from the backbone, which is then bit-identical to its state before. Waits for running calls.

        Models of this adapter raise :class:`AttachError` from then on.

        Raises:
            AttachError: it is not attached, or this is called inside a running call of its model.
        """
        attach.detach(self)

    def replaced_by(self, other: Adapter, *, strict: bool = False) -> bool:
        """Replace this attached adapter by another one, in microseconds if both have the same shapes.

        See :func:`inlay.adapters.core.attach.replace`; :meth:`MultimodalModel.swap` does this where it can.
        """
        return attach.replace(self, other, strict=strict)


AttachedModel: TypeAlias = MultimodalModel[Adapter]
"""The type of model that ``attach`` returns."""
