"""Evaluation from Python: an attached model, a run or a bundle on a file of held-out questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.recipes.data.rows.sample import questions_of
from inlay.recipes.evaluation.answering import Answered, answer_all, answer_blind
from inlay.recipes.evaluation.eval_data import HeldOut, read_held_out
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.evaluation.scores import Column, Scores, cut_line, score, table
from inlay.recipes.evaluation.token_limit import token_limit
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings
from inlay.recipes.training.load_model import loaded_model

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The answers to held-out questions, and their scores."""

    metric: str
    """Name of the metric; ``none`` if no metric fits."""
    scores: Mapping[Column, Scores]
    """``adapter``, and ``blind`` for the same questions without media; empty without a metric."""
    answers: tuple[Answered, ...]
    """Each question with its answer, in the order of the file."""
    table: str
    """The scores as printed by the command line; empty without a metric."""

    @property
    def score(self) -> float | None:
        """The main figure of the adapter; None without a metric."""
        return self.scores["adapter"].overall if self.scores else None


def evaluate(
    model: AttachedModel | str | Path,
    test: str | Path | None = None,
    *,
    backbone: Backbone | BackboneSettings | None = None,
    images: str | Path | None = None,
    annotations: str | Path | None = None,
    metric: str = "auto",
    batch_size: int | None = None,
    max_new_tokens: int | None = None,
    show: Callable[[str], None] = print,
) -> Evaluation:
    """Answer held-out questions with and without media, and score the answers.

    Args:
        model: an attached model, or the folder of a run or bundle, whose backbone is loaded as in ``inlay evaluate``.
        test: file of any format; a run's own held-out questions if not given.
        backbone: for a folder: loaded frozen models, or settings that name some of them; those of the run if not given.
        images: folder of the media; the folder of the file if not given.
        annotations: annotations file of VQA v2.
        metric: name of a metric; ``auto`` chooses by the data.
        batch_size: questions per batch; if not given, as many as the memory allows, and at most 64.
        max_new_tokens: maximum tokens of an answer; derived from the references if not given.
        show: prints a line for the user.

    Raises:
        SettingsError: an attached model without a file of questions.
        MetricError: the metric cannot score these questions.

    Example:
        >>> from inlay.recipes import evaluate  # doctest: +SKIP
        >>> print(evaluate("runs/mine", "test.json").table)  # doctest: +SKIP
    """
    files = [None if path is None else Path(path) for path in (test, images, annotations)]
    if not isinstance(model, str | Path):
        if test is None:
            raise SettingsError("evaluate: expected a file of questions (test=...) for an attached model, got none")
        held = read_held_out(Path(), files[0], files[1], annotations=files[2])
        return _evaluated(model, held, metric, batch_size, max_new_tokens, show)
    held = read_held_out(Path(model), files[0], files[1], annotations=files[2])
    with loaded_model(model, backbone or BackboneSettings()) as attached:
        return _evaluated(attached, held, metric, batch_size, max_new_tokens, show)


def _evaluated(
    attached: AttachedModel,
    held: HeldOut,
    metric: str,
    batch_size: int | None,
    max_new_tokens: int | None,
    show: Callable[[str], None],
) -> Evaluation:
    if not held.samples:
        raise SettingsError(
            f"{held.path}: expected questions with text answers, got only conversations with generated media; "
            "inlay evaluate has figures of those"
        )
    questions = [question for sample in held.samples for question in questions_of(sample)]
    chosen = choose_metric(metric, questions)
    tokenizer = attached.backbone.llm.tokenizer
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens or token_limit(chosen, questions, tokenizer),
        "batch_size": batch_size,
        "show": show,
    }
    answered = answer_all(attached, held.samples, **options)
    if cut := cut_line(answered, options["max_new_tokens"]):
        show(cut)
    if chosen is None:
        return Evaluation(metric="none", scores={}, answers=tuple(answered), table="")
    columns: dict[Column, Scores] = {
        "adapter": score(chosen, answered),
        "blind": score(chosen, answer_blind(attached, held.samples, **options)),
    }
    return Evaluation(
        metric=chosen.name, scores=columns, answers=tuple(answered), table=table(chosen, columns, held.path.name)
    )
