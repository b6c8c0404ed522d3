"""Evaluation from Python: an attached model, or a run or bundle, on a file of held-out questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.recipes.data.rows.sample import questions_of
from inlay.recipes.evaluation.answering import Answered, answer_all, answer_blind
from inlay.recipes.evaluation.eval_data import read_held_out
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.evaluation.scores import Column, Scores, cut_line, score, table
from inlay.recipes.evaluation.token_limit import token_limit
from inlay.recipes.runs.backbone import backbone_settings
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.systems.load_backbone import backbone_for

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The answers to held-out questions, and their scores."""

    metric: str
    """Name of the metric; ``none`` for free text, which no metric fits."""
    scores: Mapping[Column, Scores]
    """``adapter``, and ``blind``: the same questions without their media; empty without a metric."""
    answers: tuple[Answered, ...]
    """Each question with its answer, in the order of the file."""
    table: str
    """The scores as the command line prints them; empty without a metric."""

    @property
    def score(self) -> float | None:
        """The main figure of the adapter; None without a metric."""
        return self.scores["adapter"].overall if self.scores else None


def evaluate(
    model: AttachedModel | str | Path,
    test: str | Path | None = None,
    *,
    images: str | Path | None = None,
    annotations: str | Path | None = None,
    metric: str = "auto",
    batch_size: int | None = None,
    max_new_tokens: int | None = None,
    show: Callable[[str], None] = print,
) -> Evaluation:
    """Answer held-out questions as trained and blind, and score the answers.

    Args:
        model: attached, or the folder of a run or bundle, whose backbone is found as ``inlay evaluate`` finds it.
        test: file of any format; of a run, its own held-out questions if not given.
        images: folder of the media; the folder of the file if not given.
        annotations: of VQA v2.
        metric: ``auto`` for the one that fits the data, or a name.
        batch_size: questions at once; as many as the memory allows, and 64 at most, if not given.
        max_new_tokens: of an answer; as long as the references ask for if not given.
        show: where lines for the user go.

    Raises:
        SettingsError: no file is named for a model that belongs to no run.
        MetricError: the metric cannot score these questions.

    Example:
        >>> from inlay.recipes import evaluate  # doctest: +SKIP
        >>> print(evaluate("runs/mine", "test.json").table)  # doctest: +SKIP
    """
    if isinstance(model, str | Path):
        place = Path(model)
        adapter = Adapter.from_pretrained(place)
        attached = adapter.attach(backbone_for(adapter, backbone_settings(str(place), adapter, {})))
    else:
        place, attached = Path(), model
        if test is None:
            raise SettingsError("evaluate: an attached model belongs to no run, so name a file of questions (test=...)")
    files = [None if path is None else Path(path) for path in (test, images, annotations)]
    held = read_held_out(place, files[0], files[1], annotations=files[2])
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
