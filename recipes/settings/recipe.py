"""A recipe: a system's parts and stages. The command line can override any field."""

from __future__ import annotations

from collections.abc import Container, Mapping
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
"""The linears of LLaMA's attention, the LoRA targets of NExT-GPT and ModaVerse."""

Size: TypeAlias = Literal["miniature", "full"]
"""Hyper-parameters of the embedded miniature, or the published ones."""

World: TypeAlias = Literal["pictures", "senses"]
"""The miniature's data: pictures only, or pictures, sounds and clips as input and output."""


FEATURES: Modality = "features"


def _with_features(lr: Mapping[str, float], encoders: Container[str]) -> dict[str, float]:
    """Learning rates for a backbone with precomputed features.

    Example:
        >>> _with_features({"inputs.image": 1e-3, "lora": 1e-4}, ("features",))
        {'lora': 0.0001, 'inputs.features': 0.001}
    """
    of_inputs = {name: rate for name, rate in lr.items() if name.startswith("inputs.")}
    kept = {name: rate for name, rate in lr.items() if name not in of_inputs or name.partition(".")[2] in encoders}
    if of_inputs and "inputs" not in lr:
        kept.setdefault(f"inputs.{FEATURES}", next(iter(of_inputs.values())))
    return kept


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A system's parts and stages."""

    system: str
    """Name of the system, such as ``llava``."""
    projector: str
    """Kind of the input projectors, a key of ``inlay.adapters.inputs.PROJECTORS``."""
    stages: Mapping[str, Stage]
    """Name -> stage, in training order."""
    projector_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind of input projector -> its fields except the widths."""
    lora: LoraConfig | None = None
    """LoRA on the LLM."""
    sources: Sources = field(default_factory=Sources)
    """Default frozen models."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Generation options for held-out questions: ``num_beams``, ``length_penalty``, ...; greedy if empty."""
    modalities: tuple[Modality, ...] = ("image",)
    """Input modalities besides text; each with an encoder in the backbone has an input projector."""
    shared: bool = False
    """Whether all modalities share one input projector; their features must then have the same width."""
    output: str | None = None
    """Kind of the output projectors, a key of ``inlay.adapters.outputs.OUTPUTS``; None for none."""
    output_options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the output projectors except their input and output sizes."""
    signals: Mapping[Modality, int] = field(default_factory=dict)
    """Modality -> number of signal tokens; used for modalities with a generator in the backbone."""
    tokens: tuple[str, ...] = ()
    """Other new tokens of the LLM with trainable rows."""
    generation: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    """Modality -> generation options: ``steps``, ``guidance_scale``, ``size``; the generator's defaults if empty."""
    version: str = ""
    """Variant of the system, such as ``1.5``."""
    size: Size = "miniature"
    """The set of hyper-parameters, of the miniature or the published ones."""
    continues: bool = False
    """Whether the run continues training the whole adapter of ``--begin``, instead of a new one: parts, layout, name
    and system are then those of that bundle, and :meth:`adapter` is not used."""
    second_lora: int = 0
    """Rank of a second LoRA that is trained on top of the bundle's frozen LoRA; 0 to train the bundle's own. Only for
    recipes that continue a bundle."""
    world: World = "pictures"
    """The miniature's data to train on if no files are given."""

    def __post_init__(self) -> None:
        if self.second_lora < 0 or (self.second_lora and not self.continues):
            raise RecipeError(
                "second_lora: expected a rank of at least 0, and a recipe that continues a bundle (align), got "
                f"{self.second_lora} for {self.system}"
            )

    @property
    def layout(self) -> Layout:
        """Layout of the finished adapter: that of the last stage."""
        return list(self.stages.values())[-1].layout

    def for_encoders(self, encoders: Container[str]) -> Recipe:
        """The recipe with precomputed features as a further modality, if the backbone has their port.

        Features belong to no system: their projector has the learning rate of the system's first input projector, and
        the rates of projectors without an encoder are removed.

        Args:
            encoders: modalities of the backbone.
        """
        if FEATURES not in encoders:
            return self
        stages = {name: replace(stage, lr=_with_features(stage.lr, encoders)) for name, stage in self.stages.items()}
        return replace(self, modalities=tuple(dict.fromkeys((*self.modalities, FEATURES))), stages=stages)

    def adapter(self, backbone: Backbone, name: str) -> Adapter:
        """Build an untrained adapter for a backbone; modalities without an encoder or generator get no projector.

        Raises:
            RecipeError: the backbone has an encoder for none of the modalities.
        """
        from inlay.adapters.adapter import Adapter

        seen = [modality for modality in self.modalities if modality in backbone.encoders]
        if not seen:
            raise RecipeError(
                f"{self.system}: expected an encoder for one of {', '.join(self.modalities)}, this backbone has none"
            )
        self._check_tiling()
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

    def _check_tiling(self) -> None:
        """Check that the adapter, which has the layout of the last stage, has the newline that each stage trains."""
        ended = {
            name: stage.tiling
            for name, stage in self.stages.items()
            if (rule := stage.layout.tiling_for("image")) is not None and rule.newline
        }
        if ended and (last := list(self.stages)[-1]) not in ended:
            name, tiling = next(iter(ended.items()))
            raise RecipeError(
                f"tiling: stage {name} has {tiling!r}, which trains a newline, and the last stage {last} has not; the "
                f"adapter is used in the layout of the last stage: give {last} the same tiling"
            )

    def _lora(self, backbone: Backbone) -> tuple[LoraConfig | None, str]:
        """LoRA's configuration for this LLM, and a note for the user.

        The published systems name the linears of LLaMA's attention. An LLM with none of these names gets LoRA on
        all linears of its layers instead; the user's names are used unchanged.
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
        """Fields derived from the backbone: vocabulary of the prompt tokenizer, presence of a class token."""
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
