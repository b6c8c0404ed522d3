"""The plan of BLIP-2's first stage."""

from __future__ import annotations

from functools import partial

from inlay.recipes.data.preparation.stage_samples import expanded, phrased
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.distributed.ranks import world
from inlay.recipes.objectives.caption_tokens import CaptionTokens
from inlay.recipes.objectives.plan import Plan, Task
from inlay.recipes.objectives.qformer_contrastive.caption_batch import (
    Captioned,
    captioned,
    check_pairs,
    collate_captions,
    owners_of,
)
from inlay.recipes.objectives.qformer_contrastive.former import hand_over, hinders, new_pretrainer
from inlay.recipes.objectives.qformer_contrastive.module import QFormerContrastiveModule
from inlay.recipes.objectives.qformer_contrastive.retrieval import retrieval_report
from inlay.recipes.objectives.qformer_contrastive.settings import QFormerContrastive

__all__ = ["contrastive_plan"]


def contrastive_plan(settings: QFormerContrastive, task: Task) -> Plan | str:
    """Train a Q-Former with a text branch that the adapter does not keep."""
    if "image" not in task.model.adapter.inputs:
        return "it trains on pictures with captions, and this backbone has no image encoder"
    stage, backbone, projector = task.stage, task.model.backbone, task.model.adapter.inputs["image"]
    if reason := hinders(projector):
        return reason
    tokens = CaptionTokens(backbone.prompter(), settings.text_tokens)
    former = new_pretrainer(projector, tokens, settings).to(next(projector.parameters()).device)
    sets = [[captioned(sample) for sample in expanded(samples, stage)] for samples in task.sets]
    rows = [row for own in sets for row in own]
    check_pairs(stage, len(rows))

    def batches(rows: list[Captioned], sizes: list[int]) -> StepData:
        collate = partial(
            collate_captions,
            tokens=tokens,
            backbone=backbone,
            geometry=stage.geometry,
            owners=owners_of(rows),
            features=task.features,
        )

        def read(_: int, index: int) -> Captioned:
            return rows[index]

        return StepData(sizes, read, collate, stage, seed=task.seed, workers=task.workers)

    def stream_row(_: int, sample: Sample) -> Captioned:
        return captioned(sample)

    data = batches(rows, [len(own) for own in sets])
    unseen = [captioned(sample) for sample in expanded(task.validation, stage)]
    unseen = unseen[: len(unseen) // world() * world()]  # Gathering needs the same number of rows in every process.
    held_out = [phrased(sample, stage) for sample in task.held_out]
    return Plan(
        module=QFormerContrastiveModule(backbone, former, tokens, settings, stage, data.steps),
        data=data,
        validation=batches(unseen, [len(unseen)]) if unseen else None,
        finish=partial(hand_over, former, projector),
        report=partial(
            retrieval_report, former, backbone, tokens, held_out, stage.geometry, settings.rerank, task.features
        ),
        stream_row=stream_row,
    )
