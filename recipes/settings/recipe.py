"""Recipe and stage: small typed configurations. A system's file fills them in; the command line overrides any field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.segments import HOLE
from inlay.adapters.conversation.templates.registry import TEMPLATES
from inlay.adapters.llm_parts.lora_config import LoraConfig
from inlay.adapters.media.image import Geometry
from inlay.adapters.media.modality import Modality
from inlay.hub.errors import InlayError
from inlay.recipes.settings.default_models import Sources
from inlay.recipes.settings.objective_settings import RepresentSettings, SignalSettings, TeacherSettings

# mypy takes this name for true. jsonargparse runs the block of the usual one from `typing`, and these modules import
# torch, which takes longer than all that the command line has to check.
MYPY = False
if MYPY:
    from inlay.adapters.adapter import Adapter
    from inlay.adapters.backbone import Backbone
    from inlay.adapters.inputs import ProjectorConfig
    from inlay.adapters.llm_parts.token_rows import TokensConfig
    from inlay.adapters.outputs import OutputConfig

__all__ = ["Objective", "Recipe", "RecipeError", "Schedule", "Size", "Stage", "System", "World", "group_of", "rate_of"]

Size: TypeAlias = Literal["miniature", "full"]
"""Whose hyper-parameters: those of the embedded miniature, or the published ones."""

Objective: TypeAlias = Literal["next_token", "represent", "teach", "aligned", "signals"]
"""What a stage minimises; :mod:`inlay.recipes.objectives.registry` has a module for each."""


Schedule: TypeAlias = Literal["cosine", "linear", "constant"]
"""The learning rate after the warm-up."""

PARTS = ("inputs", "outputs", "tokens", "lora", "teacher")
"""Groups of what can train; ``teacher`` in the stages of one."""

World: TypeAlias = Literal["pictures", "senses"]
"""The miniature's data: pictures with captions and questions, or pictures, sounds and clips to see and to make."""


class RecipeError(InlayError):
    """A recipe contradicts itself or asks for something that does not exist."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training step of a system: which parts train, on which data, how."""

    data: Literal["align", "train", "all"]
    """Which file of the data: captioned pictures, instructions, or all, drawn by the square roots of their sizes."""
    template: str
    """Layout of the conversations, a key of ``inlay.adapters.conversation.templates.registry.TEMPLATES``."""
    geometry: Geometry
    """How a picture becomes a square."""
    lr: dict[str, float]
    """Part (``inputs.image``), or group of parts (``inputs``) -> peak learning rate. All others are frozen."""
    batch_size: int
    """Conversations per optimizer step."""
    epochs: float = 1.0
    """Passes over the data; may be a fraction."""
    max_steps: int | None = None
    """Optimizer steps at most; None for as many as the epochs give."""
    accumulate: int = 1
    """Forward passes per optimizer step; each takes ``batch_size / accumulate`` conversations. The gradient of the step
    does not depend on it, except for contrast and matching, whose negatives come from one forward pass."""
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay, of matrices and tables; biases, norms and a learned temperature have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moments."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    system: str = ""
    """System sentence of the layout."""
    prompt: str = HOLE
    """What becomes of the user's words, such as ``Question: {} Short answer:``; without ``{}`` they are left out."""
    objective: Objective = "next_token"
    """What is minimised."""
    represent: RepresentSettings | None = None
    """Settings of the objective ``represent``; empty for the published ones."""
    teacher: TeacherSettings | None = None
    """Settings of the objectives ``teach`` and ``aligned``; empty for the published ones."""
    warmup_steps: int | None = None
    """Steps in which the learning rate rises; goes before ``warmup``."""
    start: float = 0.0
    """Learning rate at the first step, as a share of the peak."""
    schedule: Schedule = "cosine"
    """The learning rate after the warm-up: half a cosine or a straight line down to ``floor``, or constant."""
    floor: float = 0.0
    """Learning rate at the last step, as a share of the peak."""
    turns: Literal["together", "apart"] = "together"
    """A dialogue is one sample, or each of its questions is one, with the picture."""
    phrasing: Literal["as_is", "blip"] = "as_is"
    """``blip``: questions and captions in lower case without most punctuation, at most 50 words."""
    templates: Literal["none", "instruct", "describe"] = "none"
    """Words around questions and in front of captions (``instruct``), or in front of long descriptions."""
    answers: Literal["said", "sampled"] = "said"
    """What is learnt where several people answered: what the assistant says, or one answer drawn anew each time."""
    split: Literal["none", "random"] = "none"
    """``random``: a caption is cut at a random place; its beginning is read and the rest is written (T5)."""
    direction: Literal["as_is", "make", "echo"] = "as_is"
    """Of captioned media: ``make`` turns them round, so that the user says the caption and the medium is made; with
    ``echo`` the assistant says it again first."""
    signals: SignalSettings | None = None
    """Settings of the objective ``signals``; empty for the published ones."""
    grouping: Literal["length", "none"] = "none"
    """``length``: batches hold conversations of like length, so that little is padded; that is faster, and may teach
    less, where length goes with content."""

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise RecipeError(f"template: expected one of {', '.join(TEMPLATES)}, got {self.template!r}")
        if not self.lr:
            raise RecipeError("lr: expected at least one part to train, got none")
        if unknown := [name for name in self.lr if name.partition(".")[0] not in PARTS]:
            raise RecipeError(f"lr: no part is called {', '.join(unknown)}; expected {', '.join(PARTS)}")
        if any(not 0 < rate < 10 for rate in self.lr.values()):
            raise RecipeError(f"lr: expected learning rates above 0 and below 10, got {self.lr}")
        if self.batch_size < 1 or self.accumulate < 1 or self.batch_size % self.accumulate:
            raise RecipeError(
                f"batch_size, accumulate: expected a batch that accumulate divides, got {self.batch_size} "
                f"and {self.accumulate}"
            )
        if self.epochs <= 0 or (self.max_steps is not None and self.max_steps < 1):
            raise RecipeError(f"epochs, max_steps: expected more than 0, got {self.epochs} and {self.max_steps}")
        if not 0 <= self.warmup <= 1 or self.clip < 0 or self.weight_decay < 0:
            raise RecipeError("warmup lies between 0 and 1; clip and weight_decay are not negative")
        if not 0 <= self.start <= 1 or not 0 <= self.floor <= 1 or (self.warmup_steps or 0) < 0:
            raise RecipeError("start and floor lie between 0 and 1; warmup_steps is not negative")
        if self.schedule not in get_args(Schedule):
            raise RecipeError(f"schedule: expected one of {', '.join(get_args(Schedule))}, got {self.schedule!r}")
        if self.schedule == "constant" and self.floor:
            raise RecipeError(f"floor: has no effect with schedule constant, got {self.floor}; leave one of them out")
        if self.direction != "as_is" and self.data != "align":
            raise RecipeError(f"direction: only captioned media (data: align) can be turned round, got {self.data}")
        if self.split == "random" and HOLE not in self.prompt:
            raise RecipeError("split: a caption's beginning is read where the prompt has {}, and this prompt has none")
        if self.objective not in get_args(Objective):
            raise RecipeError(f"objective: expected one of {', '.join(get_args(Objective))}, got {self.objective!r}")

    @property
    def layout(self) -> Layout:
        """The layout of this stage's conversations."""
        return Layout.published(
            self.template, system=self.system, geometry={"image": self.geometry}, prompt=self.prompt
        )

    @property
    def varies(self) -> bool:
        """Whether a sample is another one each time it comes."""
        return self.split == "random" or self.answers == "sampled" or self.templates != "none"

    def rise(self, steps: int) -> int:
        """Optimizer steps in which the learning rate rises, out of so many."""
        wanted = round(steps * self.warmup) if self.warmup_steps is None else min(self.warmup_steps, steps)
        return max(1, wanted)

    def steps(self, samples: int) -> int:
        """Optimizer steps for so many samples.

        Example:
            >>> Stage(data="align", template="plain", geometry="crop", lr={"lora": 1e-3}, batch_size=32).steps(100)
            4
        """
        steps = max(1, -(-int(samples * self.epochs) // self.batch_size))
        return steps if self.max_steps is None else min(steps, self.max_steps)


def rate_of(name: str, lr: Mapping[str, float]) -> float | None:
    """The learning rate of a part: its own, or that of its group; None where it is frozen.

    Example:
        >>> lr = {"inputs": 1e-3, "inputs.audio": 1e-4}
        >>> rate_of("inputs.image", lr), rate_of("inputs.audio", lr), rate_of("lora", lr)
        (0.001, 0.0001, None)
    """
    return lr.get(name, lr.get(group_of(name)))


def group_of(name: str) -> str:
    """``inputs`` of ``inputs.image``: the group of a part."""
    return name.partition(".")[0]


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
    making: Mapping[Modality, Mapping[str, Any]] = field(default_factory=dict)
    """How each modality is generated: ``steps``, ``guidance_scale``, ``size``; the generator's own if empty."""
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
        return Adapter.for_backbone(
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
            lora=self.lora,
        )

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


@dataclass(frozen=True, kw_only=True)
class System:
    """What the command line has to know of a system."""

    recipe: Callable[..., Recipe]
    """``recipe(version=..., size=...)``."""
    versions: tuple[str, ...]
    """Variants; the first is the default."""
