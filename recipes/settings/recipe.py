"""A recipe: a system's parts and stages. A system's file fills it in; the command line overrides any field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.llm_parts.lora_config import ALL_LINEAR, LoraConfig
from inlay.adapters.media.modality import Modality
from inlay.recipes.settings.default_models import Sources
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.stage import Stage

if TYPE_CHECKING:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone
    from inlay.adapters.inputs import ProjectorConfig
    from inlay.adapters.llm_parts.token_rows import TokensConfig
    from inlay.adapters.outputs import OutputConfig

__all__ = ["QKVO", "Recipe", "Size", "World"]

QKVO = ("k_proj", "o_proj", "q_proj", "v_proj")
"""The linears of LLaMA's attention, which NExT-GPT and ModaVerse change."""

Size: TypeAlias = Literal["miniature", "full"]
"""Whose hyper-parameters: those of the embedded miniature, or the published ones."""

World: TypeAlias = Literal["pictures", "senses"]
"""The miniature's data: pictures with captions and questions, or pictures, sounds and clips to see and to make."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A system's parts and stages."""

    system: str
    """Name of the system, such as ``llava``."""
    projector: str
    """Kind of the input projectors, a key of ``inlay.adapters.inputs.PROJECTORS``."""
    stages: Mapping[str, Stage]
    """Stages in their order."""
    projector_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of projector -> its fields besides the widths, so that any kind can be chosen."""
    lora: LoraConfig | None = None
    """LoRA on the LLM."""
    sources: Sources = field(default_factory=Sources)
    """The frozen models where the user names none."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """How held-out questions are answered: ``num_beams``, ``length_penalty``, ...; greedily if empty."""
    modalities: tuple[Modality, ...] = ("image",)
    """What the system takes in beside text: each has an input projector, where the backbone has an encoder for it."""
    shared: bool = False
    """One input projector serves all modalities, whose features must then be equally wide."""
    output: str | None = None
    """Kind of the output projectors, a key of ``inlay.adapters.outputs.OUTPUTS``; None where nothing is made of
    states."""
    output_options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the output projectors besides their sizes at both ends."""
    signals: Mapping[Modality, int] = field(default_factory=dict)
    """Modality -> signal tokens, for each generator that the backbone has."""
    tokens: tuple[str, ...] = ()
    """Further new tokens of the LLM, which are trained as rows."""
    generation: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    """How each modality is generated: ``steps``, ``guidance_scale``, ``size``; the generator's own if empty."""
    version: str = ""
    """Variant of the system, such as ``1.5``."""
    size: Size = "miniature"
    """Whose hyper-parameters these are."""
    world: World = "pictures"
    """Which of the miniature's data are learnt from where no files are named."""

    @property
    def layout(self) -> Layout:
        """What the finished adapter speaks: the layout of the last stage."""
        return list(self.stages.values())[-1].layout

    def adapter(self, backbone: Backbone, name: str) -> Adapter:
        """An untrained adapter for one backbone, whose widths are read from it.

        What the backbone has no encoder or generator for gets no projector.

        Raises:
            RecipeError: the backbone has none of the encoders.
        """
        from inlay.adapters.adapter import Adapter

        seen = [modality for modality in self.modalities if modality in backbone.encoders]
        if not seen:
            raise RecipeError(
                f"{self.system} takes in {', '.join(self.modalities)}, and this backbone has no encoder for any of them"
            )
        made = {modality: count for modality, count in self.signals.items() if modality in backbone.generators}
        lora, note = self._lora(backbone)
        adapter = Adapter.for_backbone(
            backbone,
            system=self.system,
            name=name,
            layout=self.layout,
            inputs={modality: self._input(backbone, modality) for modality in seen},
            shared=self.shared,
            outputs={modality: self._output(backbone, modality, count) for modality, count in made.items()}
            if self.output
            else {},
            tokens=self._rows(backbone, made),
            lora=lora,
        )
        if adapter.lora is not None and note:
            adapter.lora.about += note
        return adapter

    def _lora(self, backbone: Backbone) -> tuple[LoraConfig | None, str]:
        """LoRA's configuration for this LLM, and a remark.

        The published systems name the linears of LLaMA's attention. An LLM that has none of these names gets LoRA on
        all linears of its layers instead; names that the user gives are taken as they are.
        """
        from inlay.adapters.llm_parts.lora_targets import has_targets

        if self.lora is None or self.lora.targets != QKVO or has_targets(backbone.llm.model, self.lora.targets):
            return self.lora, ""
        note = f" (the published {', '.join(QKVO)} are not in this LLM of type {backbone.llm.family!r})"
        return replace(self.lora, targets=ALL_LINEAR), note

    def _input(self, backbone: Backbone, modality: Modality) -> ProjectorConfig:
        from inlay.adapters.inputs import projector_config

        widths = {"width_in": backbone.encoder(modality).width, "width_out": backbone.llm.width}
        chosen = self.projector_options.get(self.projector, {})
        return projector_config(self.projector, {**widths, **self._read(backbone, modality), **chosen})

    def _output(self, backbone: Backbone, modality: Modality, signals: int) -> OutputConfig:
        from inlay.adapters.outputs import output_config

        generator = backbone.generator(modality)
        counts = {"signals": signals, "tokens": generator.tokens}
        widths = {"width_in": backbone.llm.width, "width_out": generator.width}
        return output_config(self.output or "", {**widths, **counts, **self.output_options})

    def _rows(self, backbone: Backbone, made: Mapping[Modality, int]) -> TokensConfig | None:
        from inlay.adapters.llm_parts.token_rows import TokensConfig

        counts: dict[str, int] = {str(modality): count for modality, count in made.items()}
        if not counts and not self.tokens:
            return None
        return TokensConfig.numbered(backbone.llm.width, other=self.tokens, **counts)

    def _read(self, backbone: Backbone, modality: Modality) -> dict[str, Any]:
        """Fields that follow from the backbone: the prompt tokenizer's size, whether there is a class token."""
        from inlay.adapters.encoders import QFORMER_FAMILY
        from inlay.adapters.inputs import PROJECTORS
        from inlay.adapters.language.prompt_tokenizer import start_token

        known = {field.name for field in fields(PROJECTORS[self.projector][1])}
        found: dict[str, Any] = {}
        port = backbone.encoder(modality).port
        if "class_token" in known:
            found["class_token"] = port.family != QFORMER_FAMILY and port.settings.get("class_token") == "keep"
        if "vocabulary" in known and backbone.prompt_tokenizer is not None:
            found["vocabulary"] = start_token(backbone.prompter())[1]
        return found
