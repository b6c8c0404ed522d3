"""The final table of a run: held-out questions answered by adapter, blind baseline and oracle; generated media.

Several processes divide the questions, and all get the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.distributed as dist

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.backbone import Backbone
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.rows.sample import Sample, questions_of
from inlay.recipes.distributed.ranks import first, is_first, world
from inlay.recipes.evaluation.answering import Answered, answer_all, answer_blind, answer_oracle, as_rows, asked_of
from inlay.recipes.evaluation.generation import (
    generation_prompts,
    generation_rows,
    generation_table,
    measure_generation,
)
from inlay.recipes.evaluation.metrics.selection import choose_metric
from inlay.recipes.evaluation.quantization_gate import HeldOutBatches, as_int8
from inlay.recipes.evaluation.scores import Column, Scores, cut_line, no_metric_line, score, table
from inlay.recipes.evaluation.token_limit import token_limit
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job
from inlay.recipes.runs.miniature_data import MEDIA_JUDGE
from inlay.recipes.training.continuing.alignment_check import yes_figures

__all__ = ["FinalTable", "gated_int8"]


class FinalTable:
    """The evaluation at the end of a run.

    Args:
        job: metric, batch size and decoding options.
        questions: held-out samples with text answers.
        tokenizer: the LLM's, for the length of the reference answers.
        show: prints a line for the user.

    Raises:
        MetricError: the metric does not exist, or cannot score the questions.
    """

    def __init__(self, job: Job, questions: Sequence[Sample], tokenizer: Any, show: Callable[[str], None]) -> None:
        self.job, self.show = job, show
        asked = [question for sample in questions for question in questions_of(sample)]
        self.metric = choose_metric(job.run.metric, asked)
        self.decoding = {"max_new_tokens": token_limit(self.metric, asked, tokenizer), **job.recipe.decoding}
        self.batches: dict[str, Any] = {"batch_size": job.run.eval_batch_size, "shared": True, "show": show}
        self.oracle: Scores | None = None
        self.tables: list[str] = []

    def ask_oracle(self, backbone: Backbone, samples: Sequence[Sample]) -> None:
        """Answer from the descriptions without an adapter; samples without a description are left out."""
        if self.metric is None:
            return
        layout = list(self.job.recipe.stages.values())[-1].layout
        limit = self.decoding["max_new_tokens"]
        answered = answer_oracle(backbone, layout, samples, max_new_tokens=limit, **self.batches)
        self.oracle = score(self.metric, answered) if answered else None

    @property
    def main(self) -> str:
        """The name of the metric's main figure in ``metrics.json``."""
        known = self.metric is None or self.metric.main in ("overall", "accuracy")
        return "accuracy" if known else str(self.metric and self.metric.main)

    def before(self, model: AttachedModel, samples: Sequence[Sample], features: FeatureCache | None) -> dict[str, Any]:
        """The main figure, and those of yes/no questions, of an adapter that is about to be tuned."""
        if self.metric is None or not samples:
            return {}
        answered = answer_all(model, samples, features=features, **self.batches, **self.decoding)
        figures: dict[str, Any] = {self.main: score(self.metric, answered).overall}
        return figures | ({"pope": yes} if (yes := yes_figures(answered)) else {})

    def answers(
        self, model: AttachedModel, samples: Sequence[Sample], features: FeatureCache | None, folder: RunFolder
    ) -> dict[str, Any]:
        """Answer the questions, write the answers into the run folder, and return the figures."""
        self.show(f"\nanswering {len(asked_of(samples))} held-out questions, with and without media")
        options = self.batches | self.decoding
        answered = answer_all(model, samples, features=features, **options)
        if is_first():
            folder.write_answers(as_rows(answered, folder.root))
        if cut := cut_line(answered, self.decoding["max_new_tokens"]):
            self.show(cut)
        if self.metric is None:
            self.tables.append(no_metric_line(self.job.run.metric, str(folder.answers)))
            return {"cut": _cut(answered)}
        blind = answer_blind(model, samples, **options)
        columns: dict[Column, Scores] = {"adapter": score(self.metric, answered), "blind": score(self.metric, blind)}
        if self.oracle is not None:
            columns["oracle"] = self.oracle
        self.tables.append(table(self.metric, columns, "held-out questions"))
        figures: dict[str, Any] = {"metric": self.metric.name, "cut": _cut(answered)}
        figures |= {(self.main if name == "adapter" else name): scores.overall for name, scores in columns.items()}
        if yes := yes_figures(answered):
            figures["pope"] = yes
        figures["by_type"] = {
            kind: {name: scores.by_type.get(kind) for name, scores in columns.items()}
            for kind in columns["adapter"].by_type
        }
        figures["by_modality"] = {
            modality: {name: scores.by_modality.get(modality) for name, scores in columns.items()}
            for modality in columns["adapter"].by_modality
        }
        if not self.metric.per_answer:
            figures["scores"] = {name: scores.figures for name, scores in columns.items()}
        return figures

    def made(
        self, model: AttachedModel, samples: Sequence[Sample], features: FeatureCache | None, folder: RunFolder
    ) -> dict[str, Any]:
        """Figures of the generated media; only the miniature has a judge."""
        judge = MEDIA_JUDGE if self.job.data.train is None else None
        also = ", with the adapter and as references" if judge else ""
        prompts = generation_prompts(samples)
        self.show(f"generating media for {len(prompts)} held-out prompts{also}")
        answers, figures = measure_generation(
            model,
            prompts,
            judge,
            features=features,
            media=self.job.recipe.generation,
            seed=self.job.run.seed,
            **self.batches,
            **self.job.recipe.decoding,
        )
        if is_first():
            folder.write_made(generation_rows(answers))
        self.tables.append(generation_table(figures))
        return figures


def _cut(answered: Sequence[Answered]) -> int:
    """Number of answers that were cut off at the limit of new tokens."""
    return sum(item.finish_reason == "length" for item in answered)


def gated_int8(
    model: AttachedModel, samples: Sequence[Sample], features: FeatureCache | None, show: Callable[[str], None]
) -> dict[str, float | bool]:
    """Round to int8 in the first process if the held-out loss allows it, and broadcast the weights."""
    found = first(lambda: as_int8(HeldOutBatches(model, samples, features), show))
    _copy_from_first(model.adapter)
    return found


def _copy_from_first(adapter: Adapter) -> None:
    if world() > 1:
        for parameter in adapter.parameters():
            dist.broadcast(parameter.data, src=0)
