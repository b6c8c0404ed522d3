"""One training stage of a system as a typed configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.segments import HOLE
from inlay.adapters.conversation.templates.registry import TEMPLATES
from inlay.adapters.media.image import Geometry
from inlay.adapters.media.tiling.grid import TilingError
from inlay.adapters.media.tiling.registry import tiling_of
from inlay.recipes.settings.errors import RecipeError
from inlay.recipes.settings.objective import Objective, objective_type
from inlay.recipes.settings.optimizer import OptimizerSettings
from inlay.recipes.settings.samples import SampleSettings

__all__ = ["AUTO", "FALLBACK", "Stage", "group_of", "rate_key", "rate_of"]

AUTO, FALLBACK = "auto", "vicuna_v1"

PARTS = ("inputs", "outputs", "tokens", "lora")
"""Groups of an adapter's parts; an objective may have other trainable parts."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training stage: trainable parts, data and hyper-parameters."""

    data: Literal["align", "train", "all", "pairs"]
    """Training data: captioned pictures, instructions, all, sampled by the square roots of their sizes, or
    preferences."""
    template: str
    """Conversation template, a key of ``inlay.adapters.conversation.templates.registry.TEMPLATES``, or ``auto``: the
    LLM's own chat template if it has one, otherwise ``vicuna_v1``."""
    geometry: Geometry
    """How pictures become square: ``crop``, ``pad`` or ``squash``; without effect on tiled pictures."""
    lr: dict[str, float]
    """Part (``inputs.image``) or group of parts (``inputs``) -> peak learning rate. All other parts are frozen."""
    batch_size: int
    """Conversations per optimizer step."""
    epochs: float = 1.0
    """Passes over the data; may be a fraction."""
    max_steps: int | None = None
    """Upper limit of optimizer steps; none if empty."""
    accumulate: int = 1
    """Micro-batches per optimizer step; each has ``batch_size / accumulate`` conversations. The gradient does not
    depend on it, except for contrast and matching, whose negatives come from one micro-batch."""
    grouping: Literal["length", "none"] = "none"
    """``length``: batches of conversations of similar length, with little padding; faster, but may train worse if
    length correlates with content."""
    tiling: str | None = None
    """Rule that cuts a large picture into several squares: ``anyres`` (LLaVA 1.6), ``tiles`` (InternVL) or ``split``
    (SmolVLM), with settings after a colon such as ``tiles:1-6``; none if empty."""
    system: str = ""
    """System text of the layout."""
    arguments: dict[str, bool | int | float | str] = field(default_factory=dict)
    """Further variables of the LLM's chat template, such as ``{"enable_thinking": true}``."""
    prompt: str = HOLE
    """Format of the user's turn, such as ``Question: {} Short answer:``; without ``{}`` the user's text is omitted."""
    objective: Objective = field(default_factory=lambda: objective_type("next_token")())
    """The objective and its settings."""
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    """AdamW, warm-up and schedule."""
    samples: SampleSettings = field(default_factory=SampleSettings)
    """Transformations of the samples."""

    def __post_init__(self) -> None:
        if self.template not in (AUTO, *TEMPLATES):
            raise RecipeError(f"template: expected {AUTO} or one of {', '.join(TEMPLATES)}, got {self.template!r}")
        if not self.lr:
            raise RecipeError("lr: expected at least one part to train, got none")
        known = (*PARTS, *self.objective.parts)
        if unknown := [name for name in self.lr if name.partition(".")[0] not in known]:
            raise RecipeError(f"lr: no part is called {', '.join(unknown)}; expected {', '.join(known)}")
        if any(not 0 < rate < 10 for rate in self.lr.values()):
            raise RecipeError(f"lr: expected learning rates above 0 and below 10, got {self.lr}")
        if self.batch_size < 1 or self.accumulate < 1 or self.batch_size % self.accumulate:
            raise RecipeError(
                f"batch_size, accumulate: expected a batch that accumulate divides, got {self.batch_size} and "
                f"{self.accumulate}; accumulate is the number of micro-batches of one step, and 1 always fits"
            )
        if self.epochs <= 0 or (self.max_steps is not None and self.max_steps < 1):
            raise RecipeError(f"epochs, max_steps: expected more than 0, got {self.epochs} and {self.max_steps}")
        if self.samples.direction != "as_is" and self.data != "align":
            raise RecipeError(
                f"samples.direction: {self.samples.direction} needs captioned media (data: align), got {self.data}"
            )
        if self.samples.split == "random" and HOLE not in self.prompt:
            raise RecipeError(
                "samples.split: expected {} in the prompt, where the beginning of the caption is inserted"
            )
        try:
            _ = None if self.tiling is None else tiling_of(self.tiling)
        except TilingError as error:
            raise RecipeError(str(error)) from None
        if self.tiling is not None and not self.objective.tiled:
            raise RecipeError(
                f"tiling: the objective {self.objective.name} reads each picture as one square, got {self.tiling!r}; "
                "remove the tiling of this stage"
            )
        self.objective.check(self)

    @property
    def layout(self) -> Layout:
        """The layout of this stage's conversations; for ``auto``, before the LLM is known, ``vicuna_v1``."""
        template, arguments = (FALLBACK, {}) if self.template == AUTO else (self.template, self.arguments)
        return Layout.published(
            template,
            system=self.system,
            geometry={"image": self.geometry},
            tiling=self.tiling,
            prompt=self.prompt,
            arguments=arguments,
        )

    def in_layout(self, layout: Layout) -> Stage:
        """The stage with the layout of an existing adapter, instead of one by the name of a template.

        Args:
            layout: the layout of the adapter; the stage's own template, geometry and texts are replaced.
        """
        own = {each.name: getattr(self, each.name) for each in fields(Stage)}
        kept: dict[str, Any] = {
            "template": layout.template,
            "system": layout.system,
            "geometry": layout.geometry_for("image"),
            "tiling": layout.tiling,
            "prompt": layout.prompt,
            "arguments": dict(layout.arguments),
        }
        return _LaidStage(**(own | kept), own_layout=layout)

    def steps(self, samples: int) -> int:
        """Optimizer steps for a number of samples.

        Example:
            >>> Stage(data="align", template="plain", geometry="crop", lr={"lora": 1e-3}, batch_size=32).steps(100)
            4
        """
        steps = max(1, -(-int(samples * self.epochs) // self.batch_size))
        return steps if self.max_steps is None else min(steps, self.max_steps)


@dataclass(frozen=True, kw_only=True)
class _LaidStage(Stage):
    """A stage with the layout of an existing adapter; see :meth:`Stage.in_layout`."""

    own_layout: Layout

    @property
    def layout(self) -> Layout:
        """The adapter's layout."""
        return self.own_layout


def rate_of(name: str, lr: Mapping[str, float]) -> float | None:
    """The learning rate of a part: its own, or that of the smallest group that contains it; None if it is frozen.

    Example:
        >>> lr = {"inputs": 1e-3, "inputs.audio": 1e-4}
        >>> rate_of("inputs.image", lr), rate_of("inputs.audio", lr), rate_of("lora", lr)
        (0.001, 0.0001, None)
    """
    key = rate_key(name, lr)
    return None if key is None else lr[key]


def rate_key(name: str, lr: Mapping[str, float]) -> str | None:
    """The entry of ``lr`` for a part: its name, or a prefix of it up to a dot.

    Example:
        >>> rate_key("inputs.image.newline", {"inputs": 1e-3, "inputs.image": 1e-4})
        'inputs.image'
    """
    while name and name not in lr:
        name = name.rpartition(".")[0]
    return name or None


def group_of(name: str) -> str:
    """``inputs`` of ``inputs.image``: the group of a part."""
    return name.partition(".")[0]
