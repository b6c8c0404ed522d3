"""Recipe and stage: small typed configurations. A system's file fills them in; the command line overrides any field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.layout import TEMPLATES, Layout
from inlay.adapters.lora import LoraConfig
from inlay.adapters.media import Geometry
from inlay.hub.errors import InlayError

__all__ = ["Recipe", "RecipeError", "Stage"]


class RecipeError(InlayError):
    """A recipe contradicts itself or asks for something that does not exist."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training step of a system: which parts train, on which data, how."""

    data: Literal["align", "train"]
    """Which file of the data: captioned pictures, or instructions."""
    template: str
    """Layout of the conversations, a key of ``inlay.adapters.layout.TEMPLATES``."""
    geometry: Geometry
    """How a picture becomes a square."""
    lr: dict[str, float]
    """Part -> peak learning rate. Parts that are not named are frozen in this stage."""
    batch_size: int
    """Conversations per optimizer step."""
    epochs: float = 1.0
    """Passes over the data; may be a fraction."""
    max_steps: int | None = None
    """Optimizer steps at most; None for as many as the epochs give."""
    accumulate: int = 1
    """Forward passes per optimizer step; each takes ``batch_size / accumulate`` conversations."""
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises from zero."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moments."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    system: str = ""
    """System sentence of the layout."""

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise RecipeError(f"template: expected one of {', '.join(TEMPLATES)}, got {self.template!r}")
        if not self.lr:
            raise RecipeError("lr: expected at least one part to train, got none")
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

    @property
    def layout(self) -> Layout:
        """The layout of this stage's conversations."""
        stop = ("\n",) if self.template == "plain" else ()
        return Layout(template=self.template, system=self.system, geometry={"image": self.geometry}, stop=stop)

    def steps(self, samples: int) -> int:
        """Optimizer steps for so many samples.

        Example:
            >>> Stage(data="align", template="plain", geometry="crop", lr={"lora": 1e-3}, batch_size=32).steps(100)
            4
        """
        steps = max(1, -(-int(samples * self.epochs) // self.batch_size))
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A system's parts and stages."""

    system: str
    """Name of the system, such as ``llava``."""
    projector: str
    """Kind of the input projector, a key of ``inlay.adapters.inputs.PROJECTORS``."""
    stages: Mapping[str, Stage]
    """Stages in their order."""
    projector_options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the projector besides its widths."""
    lora: LoraConfig | None = None
    """LoRA on the LLM."""

    @property
    def layout(self) -> Layout:
        """What the finished adapter speaks: the layout of the last stage."""
        return list(self.stages.values())[-1].layout

    def adapter(self, backbone: Backbone, name: str) -> Adapter:
        """An untrained adapter for one backbone; its widths are read from the backbone."""
        return Adapter.for_backbone(
            backbone,
            system=self.system,
            name=name,
            layout=self.layout,
            inputs={"image": (self.projector, self.projector_options)},
            lora=self.lora,
        )
