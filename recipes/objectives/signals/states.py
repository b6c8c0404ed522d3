"""States of signal tokens, computed once: the training data of output projectors behind a frozen LLM.

As long as nothing in front of the output projectors trains, a conversation's states are the same in every epoch. So the
LLM reads each conversation once, and neither it nor an encoder is run in the training loop. With a folder to keep them
in, it reads each conversation once over all runs with the same LLM and the same adapter in front of the states.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.messages import MadePart, made_of
from inlay.adapters.core.encode import Encoded
from inlay.adapters.media.modality import Modality
from inlay.recipes.cache.fill import Fill, fill
from inlay.recipes.cache.states import states_key, states_space
from inlay.recipes.cache.store import CacheStore
from inlay.recipes.data.features import FeatureCache
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.sampling.lengths import lengths_of
from inlay.recipes.data.sampling.step_counts import counts_of, media_counts
from inlay.recipes.settings.stage import Stage

__all__ = ["StateBatch", "StateRow", "collate_states", "collect_states", "states_fit_in"]

BATCH = 32


@dataclass(frozen=True)
class StateRow:
    """One conversation."""

    name: str
    """The sample's id."""
    made: tuple[MadePart, ...]
    """What is made in it, in reading order."""
    states: Mapping[Modality, Tensor]
    """``[n, signals, width]`` a modality, on the CPU."""


@dataclass(frozen=True)
class StateBatch:
    """Media to be made, with the states of their signal tokens."""

    states: Mapping[Modality, Tensor]
    """``[n, signals, width]`` a modality, in the order of ``made``."""
    made: tuple[MadePart, ...]
    """What is made."""
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
    stage: Stage,
    features: FeatureCache | None = None,
    store: CacheStore | None = None,
    *,
    visits: float = 1.0,
    show: Callable[[str], None] = print,
) -> list[StateRow]:
    """Run the frozen LLM over every conversation in which something is made, without dropout.

    Args:
        model: attached.
        samples: those in which nothing is made are left out.
        stage: whose layout they are laid out in.
        features: frozen features, if they are cached.
        store: where states are kept on disk; those that are there are not computed.
        visits: how often a conversation comes in this run, by which a store tells whether it pays.
        show: where what a store says goes.

    Raises:
        DataError: nothing is made in any of them.
    """
    making = [sample for sample in samples if made_of(sample.messages)]
    if not making:
        raise DataError("expected conversations in which the assistant makes something, got none")
    was_training = model.adapter.training
    model.adapter.eval()
    lengths = lengths_of(making)
    order = sorted(range(len(making)), key=lambda place: lengths[place])
    encoded = [model.encode(making[n].messages, layout=stage.layout, name=making[n].id) for n in order]

    def compute(places: Sequence[int]) -> list[Tensor]:
        return _packed_states(model, [encoded[place] for place in places], stage, features)

    if store is None:
        groups = [range(start, min(start + BATCH, len(encoded))) for start in range(0, len(encoded), BATCH)]
        packed = [states for group in groups for states in compute(group)]
    else:
        space, keys = states_space(store, model, stage), [states_key(store, row) for row in encoded]
        signals = {modality: len(ids) for modality, ids in model.adapter.signals.ids.items()}

        def shape(place: int) -> tuple[int, ...]:
            return sum(signals.get(part.modality, 0) for part in encoded[place].made), model.backbone.llm.width

        how = Fill(
            what="signal-token states", group=BATCH, visits=visits, memory=sys.maxsize, show=show, shape=shape
        )  # what may be too large for the memory is not collected at all
        found = fill(space, keys, compute, how) or {}
        packed = [found[key] for key in keys]
    model.adapter.train(was_training)
    rows = {n: _row(model, row, states) for n, row, states in zip(order, encoded, packed, strict=True)}
    return [rows[place] for place in range(len(making))]


@torch.no_grad()
def _packed_states(
    model: AttachedModel, encoded: Sequence[Encoded], stage: Stage, features: FeatureCache | None
) -> list[Tensor]:
    """States of each conversation, of all its media one behind the other: ``[signals, width]``, by modality."""
    found = model.signal_states(model.collate(encoded, layout=stage.layout, features=features))
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
    """Whether the states of all that is made take at most ``budget`` bytes."""
    size = model.backbone.llm.width * model.backbone.llm.dtype.itemsize
    signals = {modality: len(ids) for modality, ids in model.adapter.signals.ids.items()}
    count = sum(signals.get(part.modality, 0) for sample in samples for part in made_of(sample.messages))
    return count * size <= budget


@counts_of.register
def _counts(batch: StateBatch) -> dict[str, int]:
    """Samples, and media that are made."""
    return {"samples": len(batch), **media_counts(part.modality for part in batch.made)}
