"""What a stage's objective is given, and what it makes of it; the objectives themselves are in `objectives`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning.pytorch import LightningModule

from inlay.adapters.adapter import AttachedModel
from inlay.recipes.cache.store import CacheStore
from inlay.recipes.data.features import FeatureCache
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.settings.recipe import Stage

__all__ = ["Plan", "Task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stage of one run."""

    stage: Stage
    model: AttachedModel
    sets: Sequence[Sequence[Sample]]
    """The data sets to learn from."""
    held_out: Sequence[Sample] = ()
    """Captioned pictures to measure by."""
    validation: Sequence[Sample] = ()
    """Held-out samples on which the loss is measured during training."""
    features: FeatureCache | None = None
    """Frozen features, if they are cached."""
    seed: int = 0
    workers: int = 0
    left: dict[str, Any] = field(default_factory=dict)
    """What earlier stages of the run left behind for later ones: ``teacher``."""
    memory: int = 2 << 30
    """Bytes that captions' embeddings, and states of signal tokens, may each take."""
    store: CacheStore | None = None
    """Where what frozen models compute is kept on disk."""
    show: Callable[[str], None] = print
    """Where lines for the user go."""
    own_world: bool = False
    """Whether the captions are the miniature's, which has a judge of its own."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done in a stage."""

    module: LightningModule
    data: StepData
    validation: StepData | None = None
    """Batches of ``Task.validation`` for the same module; None where there are none."""
    answers: bool = False
    """Whether the model learns to answer in words, so that validation scores answers too."""
    finish: Callable[[], None] = lambda: None
    """Brings what was learnt into the adapter, where it did not learn there."""
    report: Callable[[], dict[str, float]] = dict
    """Figures of the stage, measured after it."""
