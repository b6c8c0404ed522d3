"""One batch: jobs of one group become prompts, then rows, then answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.adapter import Adapter, AttachedModel
from inlay.adapters.chat.per_row_adapters import embed_rows, with_lora_of
from inlay.adapters.chat.replies import encode_all, replies_of
from inlay.adapters.conversation.segments import TooLongError
from inlay.adapters.core.encode import Encoded
from inlay.adapters.language.generation.generate import Generation
from inlay.adapters.llm_parts.signal_grammar import completed
from inlay.adapters.llm_parts.signal_tokens import Signals
from inlay.hub.errors import InlayError
from inlay.recipes.serve.engine.job import Done, Failed, Job, Started
from inlay.recipes.serve.engine.models import Group, Models
from inlay.recipes.serve.engine.row import Row
from inlay.recipes.serve.engine.sampling import JobCancelled, RowsEnded, RowsProcessor
from inlay.recipes.serve.errors import ApiError
from inlay.recipes.systems.generation_options import generation_options

__all__ = ["answer"]


@dataclass(frozen=True)
class _Prompt:
    """A job with its encoded conversation."""

    job: Job
    adapter: Adapter
    encoded: Encoded
    size: int
    """LLM positions."""
    limit: int
    """New tokens at most."""


def answer(models: Models, group: Group, jobs: Sequence[Job]) -> list[Job]:
    """Answer jobs in one batch, and send their events.

    A job that cannot be answered fails alone: after an error in a batch each job is tried in a batch of its own.

    Args:
        models: the served adapters.
        group: of all jobs.
        jobs: the first of them is always answered.

    Returns:
        Jobs that do not fit beside the others into the context of the LLM, for the next batch.
    """
    model = models.attached(group)
    with model.held(), model.inference():
        prompts = [prompt for job in jobs if (prompt := _prompt(models, model, job)) is not None]
        taken, later = _fitting(prompts, _context(model))
        started: list[Job] = []
        try:
            _generate(models, group, taken, started)
        except Exception as error:
            if len(taken) > 1 and not started:
                for prompt in taken:
                    _alone(models, group, prompt)
            else:
                for prompt in taken:
                    prompt.job.emit(Failed(error))
    return [prompt.job for prompt in later]


def _alone(models: Models, group: Group, prompt: _Prompt) -> None:
    try:
        _generate(models, group, [prompt], [])
    except Exception as error:  # sent to the client; the engine goes on
        prompt.job.emit(Failed(error))


def _prompt(models: Models, model: AttachedModel, job: Job) -> _Prompt | None:
    """A job's prompt; None if it failed."""
    adapter = models.adapter(job.name)
    try:
        (encoded,) = encode_all(model.with_adapter(adapter), [job.conversation], adapter.layout, ())
        size, context = len(encoded.ids), _context(model)
        if context is not None and size >= context:
            raise TooLongError(f"{size} positions leave no room for an answer in the context of {context}")
    except TooLongError as error:
        text = f"{str(error).partition(';')[0]}; shorten the messages"
        job.emit(Failed(ApiError(text, param="messages", code="context_length_exceeded")))
        return None
    except InlayError as error:
        job.emit(Failed(error))
        return None
    most = job.sampling.max_new_tokens
    return _Prompt(job, adapter, encoded, size, most if context is None else min(most, context - size))


def _context(model: AttachedModel) -> int | None:
    """Positions of a decoder-only model; None if answers do not share them with the prompt."""
    llm = model.backbone.llm
    return None if llm.model.config.is_encoder_decoder else llm.wiring.context(llm.model)


def _fitting(prompts: Sequence[_Prompt], context: int | None) -> tuple[list[_Prompt], list[_Prompt]]:
    """The prompts of this batch, whose longest leaves room for the longest answer, and all others."""
    taken: list[_Prompt] = []
    later: list[_Prompt] = []
    for prompt in prompts:
        both = [*taken, prompt]
        longest = max(other.size for other in both) + max(other.limit for other in both)
        (taken if context is None or not taken or longest <= context else later).append(prompt)
    return taken, later


@torch.no_grad()
def _generate(models: Models, group: Group, prompts: Sequence[_Prompt], started: list[Job]) -> None:
    """Generate all answers; ``started`` receives the jobs that have sent events."""
    if not prompts:
        return
    model = models.model
    owns = model.adapter.tokens is not None
    adapters = [prompt.adapter for prompt in prompts]
    if owns:
        batch = model.collate([prompt.encoded for prompt in prompts], generation=True).to(model.backbone.device)
        embeddings, mask = model.embeddings(batch), batch.mask
    else:
        embeddings, mask = embed_rows(model, [prompt.encoded for prompt in prompts], adapters)
    places = [place for place, prompt in enumerate(prompts) for _ in range(prompt.job.sampling.n)]
    several = torch.tensor(places, device=mask.device)
    embeddings, mask = embeddings[several], mask[several]
    rows = [row for prompt in prompts for row in _rows(model, group, prompt)]
    alone = owns or all(adapter is model.adapter for adapter in adapters)
    beams = prompts[0].job.sampling.beams
    sampled = any(prompt.job.sampling.temperature > 0 for prompt in prompts)
    processor = RowsProcessor(rows, models.unsampled(group) if sampled else ())
    for place, prompt in enumerate(prompts):
        started.append(prompt.job)
        prompt.job.emit(Started(int(mask[places.index(place)].sum())))
    how: dict[str, Any] = {"end": group.end, "max_new_tokens": max(row.limit for row in rows)}
    if beams > 1:  # one job in a batch of its own
        written = model.write(embeddings, mask, num_beams=beams, stopping_criteria=[JobCancelled(rows[0].job)], **how)
        rows[0].take_all(written.rows[0])
    else:
        how |= {"logits_processor": [processor], "stopping_criteria": [RowsEnded(rows)]}
        with nullcontext() if alone else with_lora_of(model, [adapters[place] for place in places]):
            model.write(embeddings, mask, **how)
    for place, row in enumerate(rows):
        if row.whole and not row.job.cancelled:
            _finish_media(model, row, (embeddings[place : place + 1], mask[place : place + 1]))


def _rows(model: AttachedModel, group: Group, prompt: _Prompt) -> list[Row]:
    signals = model.adapter.signals if prompt.adapter is model.adapter else Signals()
    made = (model.backbone.llm, prompt.adapter.layout, signals, group.end, prompt.limit)
    return [Row(prompt.job, index, *made) for index in range(prompt.job.sampling.n)]


def _finish_media(model: AttachedModel, row: Row, prompt: tuple[Tensor, Tensor]) -> None:
    """The whole reply of an adapter that makes media."""
    reason = row.reason or "length"
    written = Generation([completed(row.ids, row.signals)], [reason])
    media = generation_options(model.adapter, model.backbone, row.job.seed + row.index)
    for modality, own in row.job.sampling.generation.items():
        media[modality] = {**media[modality], **own}
    (reply,) = replies_of(model, written, prompt, row.layout, media, row.job.sampling.stop)
    row.job.emit(Done(row.index, reason, len(row.ids), reply))
