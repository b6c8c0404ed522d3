"""Validation of a stage: the held-out samples, and the score of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inlay.adapters.adapter import AttachedModel
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.preference_check import fitting
from inlay.recipes.data.preparation.stage_samples import expanded, phrased, varied
from inlay.recipes.data.row_check import RowCheck
from inlay.recipes.data.rows.sample import Sample, conversations_of
from inlay.recipes.data.rows.tables.sequences import Joined
from inlay.recipes.distributed.ranks import world
from inlay.recipes.evaluation.answering import Asked, ask, asked_of, blind
from inlay.recipes.evaluation.metric_registry import AnswerMetric
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.evaluation.scores import score
from inlay.recipes.evaluation.token_limit import token_limit
from inlay.recipes.runs.job import NO_VALIDATION, Job
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.stage import Stage

__all__ = ["AnswerCheck", "answer_check", "check_watched", "spread", "validation_samples"]


def validation_samples(
    stage: Stage, samples: Mapping[str, Sequence[Sample]], most: int, model: AttachedModel
) -> list[Sample]:
    """The held-out samples for a stage: captioned media, questions, or both with instructions.

    Args:
        stage: its data and layout decide which samples are used.
        samples: result of :func:`~inlay.recipes.data.load.load_data`.
        most: maximum number of samples, evenly spaced over all.
        model: checks that the samples can be encoded.

    Returns:
        The samples; empty if there are fewer than processes.
    """
    names = {"align": ["align_test"], "train": ["test"], "pairs": ["pairs_test"]}.get(
        stage.data, ["align_test", "test", *(name for name in samples if name.startswith("make_test"))]
    )
    held = Joined([fitting(samples[name], stage.objective.reads) for name in names if name in samples])
    chosen = spread(held, most)
    if stage.objective.conversations:
        check = RowCheck(model, stage.layout)
        chosen = [sample for sample in chosen if not any(check.problems(_messages(sample, stage)))]
    return chosen if len(chosen) >= world() else []


def check_watched(job: Job, samples: Mapping[str, Sequence[Sample]], model: AttachedModel) -> None:
    """Check that ``patience`` and ``best`` have validations to compare.

    Raises:
        SettingsError: no stage has held-out data.
    """
    if not (job.run.patience or job.run.best):
        return
    if not any(validation_samples(stage, samples, 1 + world(), model) for stage in job.recipe.stages.values()):
        raise SettingsError(NO_VALIDATION)


def _messages(sample: Sample, stage: Stage) -> list[Any]:
    rows = [varied(row, stage, seed=0, number=0) for row in expanded([sample], stage)]
    return [messages for row in rows for messages in conversations_of(row)]


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most ``most`` samples, evenly spaced, in their order.

    Example:
        >>> spread(list("abcdef"), 3)
        ['a', 'c', 'e']
    """
    count = min(most, len(samples))
    return [samples[place * len(samples) // count] for place in range(count)]


@dataclass(frozen=True, kw_only=True)
class AnswerCheck:
    """Answers to held-out questions in the layout of a stage, and their score."""

    model: AttachedModel
    asked: Sequence[Asked]
    metric: AnswerMetric
    options: Mapping[str, Any]
    """Options of :func:`~inlay.recipes.evaluation.answering.ask`."""

    def __call__(self) -> dict[str, float]:
        """The metric's main figure, and the same figure without the media if all prompts have text.

        Every process calls this and answers its share.
        """
        figures = {self.metric.name: self._score(self.asked)}
        if all(prompt[-1].text.strip() for _, prompt, _ in self.asked):
            figures[f"{self.metric.name}_blind"] = self._score(blind(self.asked))
        return figures

    def _score(self, asked: Sequence[Asked]) -> float:
        return score(self.metric, ask(self.model, asked, shared=True, **self.options)).overall


def answer_check(
    job: Job,
    stage: Stage,
    model: AttachedModel,
    samples: Sequence[Sample],
    features: FeatureCache | None,
    show: Callable[[str], None],
) -> AnswerCheck | None:
    """The answer check of a stage; None without questions or a metric that fits."""
    asked = asked_of(phrased(sample, stage) for sample in samples) if job.run.evaluate else []
    # A turn that generates media is no text answer.
    kept = [item for item in asked if item[0].reference.strip() and not item[0].made]
    questions = [question for question, _, _ in kept]
    # --metric applies to questions; captioned media are scored as captions.
    metric = choose_metric("captions" if stage.data == "align" else job.run.metric, questions)
    if metric is None or not questions:
        return None
    layout = stage.layout
    if stage.samples.split == "random":
        layout = replace(layout, prompt="")  # The prompt would contain the beginning of the caption.
    options: dict[str, Any] = {
        "max_new_tokens": token_limit(metric, questions, model.backbone.llm.tokenizer),
        "batch_size": job.run.eval_batch_size,
        "features": features,
        "layout": layout,
        "show": show,
    }
    return AnswerCheck(model=model, asked=kept, metric=metric, options=options)
