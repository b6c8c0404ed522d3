"""The input of an objective (:class:`Task`), and its result (:class:`Plan`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lightning.pytorch import LightningModule

from inlay.adapters.adapter import AttachedModel
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.conversations import StageData
from inlay.recipes.data.preparation.stage_samples import expanded, phrased
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.rows.tables.sequences import Joined
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.evaluation.answering import answer_all
from inlay.recipes.evaluation.metrics.captions.figures import caption_figures
from inlay.recipes.evaluation.metrics.hallucination.vocabulary import ObjectVocabulary
from inlay.recipes.settings.stage import Stage

__all__ = ["Plan", "Task", "conversation_data", "conversation_plan", "conversation_validation"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One stage of one run."""

    stage: Stage
    """The settings of the stage."""
    model: AttachedModel
    """The backbone with the adapter attached."""
    sets: Sequence[Sequence[Sample]]
    """The training data sets."""
    held_out: Sequence[Sample] = ()
    """Held-out captioned pictures for the report."""
    validation: Sequence[Sample] = ()
    """Held-out samples for the validation loss."""
    audited: Sequence[Sample] = ()
    """Held-out samples for the figures before and after alignment tuning."""
    vocabulary: ObjectVocabulary | None = None
    """The object classes of the pictures, if they are known."""
    features: FeatureCache | None = None
    """Frozen features, if they are cached."""
    seed: int = 0
    """Seed of the order of the samples, and of all that is drawn."""
    workers: int = 0
    """Processes that load media; 0 loads them in the training process."""
    carried: dict[str, Any] = field(default_factory=dict)
    """Results of earlier stages for later ones: ``teacher``."""
    memory: int = 2 << 30
    """Memory limit in bytes, each for caption embeddings and for states of signal tokens."""
    store: CacheStore | None = None
    """Disk cache for outputs of frozen models."""
    show: Callable[[str], None] = field(default_factory=lambda: print)
    """Prints a line for the user."""
    judge: Callable[[str, str], bool] | None = None
    """Whether a generated caption is correct, given caption and reference; None without a judge."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Module, batches and report of one stage."""

    module: LightningModule
    """The training module; a :class:`StepModule`, or any module whose ``training_step`` returns a loss."""
    data: StepData
    """The batches of the optimizer steps."""
    validation: StepData | None = None
    """Batches of ``Task.validation`` for the same module; None for none."""
    answers: bool = False
    """Whether the model learns to generate text, so that validation also scores answers."""
    finish: Callable[[], None] = field(default_factory=lambda: _nothing)
    """Runs after training; copies weights that were trained outside the adapter into it."""
    stream_row: Callable[[int, Sample], Any] | None = None
    """``(number, sample)`` -> the row of a streamed sample; None if the objective cannot read a stream."""
    report: Callable[[], dict[str, float]] = field(default_factory=lambda: dict)
    """Computes figures after the stage."""
    figures: Callable[[], dict[str, Any]] = field(default_factory=lambda: dict)
    """Computes further entries of ``metrics.json`` after the stage."""


def _nothing() -> None:
    """What most objectives do after training."""


def conversation_data(task: Task, sets: Sequence[Sequence[Sample]] | None = None) -> StageData:
    """The data of a stage in which a language model reads conversations.

    Args:
        task: stage, model and data.
        sets: samples already expanded for the stage; the task's own if not given.
    """
    ready = [expanded(rows, task.stage) for rows in task.sets] if sets is None else sets
    return StageData(
        Joined(ready) if len(ready) != 1 else ready[0],
        task.model,
        task.stage,
        seed=task.seed,
        sizes=[len(rows) for rows in ready],
        features=task.features,
        workers=task.workers,
    )


def conversation_plan(task: Task, module: Callable[[int], LightningModule]) -> Plan:
    """The plan of an objective on conversations, with a report of caption scores after a captioning stage.

    Args:
        task: stage, model and data.
        module: function from the number of optimizer steps to the training module.
    """
    data = conversation_data(task)
    return Plan(
        module=module(data.steps),
        data=data,
        validation=conversation_validation(task),
        answers=True,
        report=partial(caption_report, task),
        stream_row=data.row,
    )


def conversation_validation(task: Task) -> StageData | None:
    """The held-out samples as batches of conversations; None for none."""
    return conversation_data(task, [expanded(task.validation, task.stage)]) if task.validation else None


JUDGED = 250
"""Number of captions for the judge; the share of correct ones then has a standard error of about 3 points."""
LONGEST_CAPTION = 60
"""Maximum tokens of a generated caption."""


def caption_report(task: Task) -> dict[str, float]:
    """Scores of generated captions of held-out pictures, and the share that the judge accepts."""
    if task.stage.data != "align" or not task.held_out:
        return {}
    shown = task.held_out[:JUDGED] if task.judge is not None else task.held_out
    samples = [phrased(sample, task.stage) for sample in shown]
    layout = task.stage.layout
    if task.stage.samples.split == "random":
        layout = replace(layout, prompt="")  # the prompt would contain the beginning of the caption
    answered = answer_all(task.model, samples, layout=layout, features=task.features, max_new_tokens=LONGEST_CAPTION)
    said, truths = [item.said for item in answered], [item.question.answers for item in answered]
    figures = caption_figures(said, truths)
    if task.judge is not None:
        right = [task.judge(item.said, item.question.reference) for item in answered]
        figures["right"] = sum(right) / len(right)
    return figures
