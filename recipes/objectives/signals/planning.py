"""The plan of a stage that trains media generation: with the LLM in the loop, or on precomputed states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import MadePart, made_of
from inlay.adapters.media.load import load_medium
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.cache.states import StateRow, collate_states, collect_states, states_fit_in
from inlay.recipes.data.preparation.stage_samples import expanded
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.sequences import Joined, chosen
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.sampling.step_data import StepData
from inlay.recipes.objectives.plan import Plan, Task, caption_report, conversation_data
from inlay.recipes.objectives.signals.module import Extra, SignalsModule, SignalStatesModule
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.objectives.signals.targets import Targets
from inlay.recipes.settings.objective import ObjectiveError
from inlay.recipes.settings.stage import rate_of

__all__ = ["signals_plan"]


def signals_plan(settings: Signals, task: Task) -> Plan | str:
    """Plan NExT-GPT's decoding-side alignment or instruction tuning.

    Returns:
        The plan, or the reason why this adapter skips the stage.

    Raises:
        DataError: a generated medium has no caption, or there is none although only output projectors train.
    """
    stage, model = task.stage, task.model
    if not model.adapter.outputs:
        return "this adapter has no output projectors"
    sets = [expanded(samples, stage) for samples in task.sets]
    rows = Joined(sets)
    targets = Targets(model.backbone, task.memory)
    extra = _diffusion(model, settings) if settings.diffusion else None
    if settings.cache and _only_outputs(task) and _again(task, rows) and states_fit_in(model, rows, task.memory):
        sets = [own for own in map(_making, sets) if own or len(sets) == 1]
        held = [collect_states(model, own, stage.layout, task.features, task.store, show=task.show) for own in sets]
        data = _state_data(task, held, lengths_of(Joined(sets)))
        unseen = _making(expanded(task.validation, stage))
        states = collect_states(model, unseen, stage.layout, task.features, None, show=task.show) if unseen else []
        return Plan(
            module=SignalStatesModule(model.adapter, targets, settings, stage, data.steps, extra),
            data=data,
            validation=_state_data(task, [states], lengths_of(unseen)) if states else None,
            report=partial(caption_report, task),
        )
    unseen = expanded(task.validation, stage)
    if _only_outputs(task):
        sets = [making for own in sets if (making := _making(own))]
        unseen = _making(unseen)
    conversations = conversation_data(task, sets)
    return Plan(
        module=SignalsModule(model, targets, settings, stage, conversations.steps, extra),
        data=conversations,
        validation=conversation_data(task, [unseen]) if unseen else None,
        report=partial(caption_report, task),
    )


def _making(rows: Sequence[Sample]) -> Sequence[Sample]:
    """Conversations with generated media, the only ones that train an output projector."""
    return chosen(rows, lambda row: made_of(row.messages))


def _only_outputs(task: Task) -> bool:
    """Whether only output projectors train, so that their inputs do not change."""
    learns = {part.name for part in task.model.adapter.parts() if rate_of(part.name, task.stage.lr) is not None}
    return learns <= {f"outputs.{modality}" for modality in task.model.adapter.outputs}


def _again(task: Task, rows: Sequence[Sample]) -> bool:
    """Whether conversations are repeated; otherwise precomputed states save no time."""
    return not task.stage.samples.varies and task.stage.steps(len(rows)) * task.stage.batch_size > len(rows)


def _state_data(task: Task, held: Sequence[Sequence[StateRow]], lengths: NDArray[np.int64]) -> StepData:
    """Batches of states, in the order of the conversations."""
    rows = [row for own in held for row in own]

    def read(_: int, index: int) -> StateRow:
        return rows[index]

    grouped = lengths if task.stage.grouping == "length" else None
    return StepData([len(own) for own in held], read, collate_states, task.stage, seed=task.seed, lengths=grouped)


def _diffusion(model: AttachedModel, settings: Signals) -> Extra:
    return partial(_diffusion_loss, model, settings)


def _diffusion_loss(
    model: AttachedModel, settings: Signals, modality: Modality, given: Tensor, parts: Sequence[MadePart]
) -> Tensor:
    """The latent diffusion loss of the media themselves."""
    generator: Any = model.backbone.generator(modality)
    if lacking := [part.caption for part in parts if part.source is None]:
        raise DataError(
            f"diffusion: expected a media file for {lacking[0]!r}, got none; give its file, or set "
            "--stages.STAGE.objective.diffusion 0"
        )
    if not hasattr(generator, "encode_media"):
        raise ObjectiveError(
            f"diffusion: {type(generator).__name__} cannot encode {modality} as latents; set "
            "--stages.STAGE.objective.diffusion 0, or remove this generator"
        )
    media = [load_medium(modality, part.source) for part in parts]
    loss: Tensor = generator.diffusion_loss(given, generator.encode_media(media), snr_gamma=settings.min_snr)
    return loss
