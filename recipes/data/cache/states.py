"""Hidden states of signal tokens, computed once: the training data of output projectors behind a frozen LLM.

As long as nothing in front of the output projectors trains, the states of a conversation are the same in every epoch.
The LLM then reads each conversation once, and neither it nor an encoder runs in the training loop. With a folder, it
reads each conversation once for all runs with the same LLM and the same parts in front of the output projectors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, made_of
from inlay.adapters.core.encode import Encoded
from inlay.adapters.media.modality import Modality
from inlay.recipes.data.cache.features import FeatureCache
from inlay.recipes.data.cache.fill import fill
from inlay.recipes.data.cache.model_facts import model_facts, row_key
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.sampling.step_counts import counts_of, media_counts

__all__ = ["StateBatch", "StateRow", "collate_states", "collect_states", "states_fit_in"]

BATCH = 32


@dataclass(frozen=True)
class StateRow:
    """The states of one conversation."""

    name: str
    """The sample's id."""
    made: tuple[MadePart, ...]
    """The media that the assistant generates, in reading order."""
    states: Mapping[Modality, Tensor]
    """``[n, signals, width]`` a modality, on the CPU."""


@dataclass(frozen=True)
class StateBatch:
    """Media to be generated, with the states of their signal tokens."""

    states: Mapping[Modality, Tensor]
    """``[n, signals, width]`` a modality, in the order of ``made``."""
    made: tuple[MadePart, ...]
    """The media."""
    names: tuple[str, ...]
    """Sample ids, one a conversation."""

    def to(self, device: torch.device) -> StateBatch:
        """The same batch on another device."""
        return replace(self, states={name: states.to(device) for name, states in self.states.items()})

    def __len__(self) -> int:
        return len(self.names)


def collect_states(
    model: AttachedModel,
    samples: Sequence[Sample],
    layout: Layout,
    features: FeatureCache | None = None,
    store: CacheStore | None = None,
    *,
    show: Callable[[str], None] = print,
) -> list[StateRow]:
    """Run the frozen LLM over every conversation with a generated medium, without dropout.

    Args:
        model: the attached model.
        samples: conversations; those without a generated medium are left out.
        layout: the layout of the conversations.
        features: cached features; None to run the encoders.
        store: the cache on disk; states that it has are not computed.
        show: prints a line for the user.

    Raises:
        DataError: no conversation has a generated medium.
    """
    making = [sample for sample in samples if made_of(sample.messages)]
    if not making:
        raise DataError("expected conversations in which the assistant generates a medium, got none")
    lengths = lengths_of(making)
    order = sorted(range(len(making)), key=lambda place: lengths[place])
    encoded = [model.encode(making[n].messages, layout=layout, name=making[n].id) for n in order]
    space = store.space({"kind": "states"} | model_facts(model, layout)) if store else None
    keys = [row_key(row) if space else str(place) for place, row in enumerate(encoded)]
    rows = dict(zip(keys, encoded, strict=True))
    width, dtype = model.backbone.llm.width, model.backbone.llm.dtype
    signals = {modality: len(ids) for modality, ids in model.adapter.signals.ids.items()}
    was_training = model.adapter.training
    model.adapter.eval()
    try:
        found = fill(
            space,
            {key: (sum(signals.get(part.modality, 0) for part in row.made), width) for key, row in rows.items()},
            lambda missing: _packed_states(model, [rows[key] for key in missing], layout, features),
            group=BATCH,
            item_bytes=dtype.itemsize,
            memory=sys.maxsize,  # the caller has checked states_fit_in
            what="signal-token states",
            show=show,
        )
    finally:
        model.adapter.train(was_training)
    packed = found.tensors if found else {}
    in_order = {n: _row(model, row, packed[key]) for n, row, key in zip(order, encoded, keys, strict=True)}
    return [in_order[place] for place in range(len(making))]


@torch.no_grad()
def _packed_states(
    model: AttachedModel, encoded: Sequence[Encoded], layout: Layout, features: FeatureCache | None
) -> list[Tensor]:
    """States of each conversation, ``[signals, width]``, concatenated over its media by modality."""
    found = model.signal_states(model.collate(encoded, layout=layout, features=features))
    taken = dict.fromkeys(found, 0)
    packed = []
    for row in encoded:
        parts = []
        for modality, whole in found.items():
            count = sum(part.modality == modality for part in row.made)
            parts.append(whole[taken[modality] : taken[modality] + count].flatten(0, 1))
            taken[modality] += count
        packed.append(torch.cat(parts).cpu().clone())
    return packed


def _row(model: AttachedModel, row: Encoded, packed: Tensor) -> StateRow:
    states, start = {}, 0
    for modality, ids in model.adapter.signals.ids.items():
        count = sum(part.modality == modality for part in row.made)
        states[modality] = packed[start : start + count * len(ids)].view(count, len(ids), packed.shape[-1])
        start += count * len(ids)
    return StateRow(row.name, row.made, states)


def collate_states(rows: Sequence[StateRow]) -> StateBatch:
    """One batch, media in reading order."""
    return StateBatch(
        {modality: torch.cat([row.states[modality] for row in rows]) for modality in rows[0].states},
        tuple(part for row in rows for part in row.made),
        tuple(row.name for row in rows),
    )


def states_fit_in(model: AttachedModel, samples: Sequence[Sample], budget: int) -> bool:
    """Whether the states of all generated media take at most ``budget`` bytes."""
    size = model.backbone.llm.width * model.backbone.llm.dtype.itemsize
    signals = {modality: len(ids) for modality, ids in model.adapter.signals.ids.items()}
    count = sum(signals.get(part.modality, 0) for sample in samples for part in made_of(sample.messages))
    return count * size <= budget


@counts_of.register
def _counts(batch: StateBatch) -> dict[str, int]:
    """Samples, and media that are generated."""
    return {"samples": len(batch), **media_counts(part.modality for part in batch.made)}
