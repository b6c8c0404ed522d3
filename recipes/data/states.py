"""States of signal tokens, computed once: the training data of output projectors behind a frozen LLM.

As long as nothing in front of the output projectors trains, a conversation's states are the same in every epoch. So the
LLM reads each conversation once, and neither it nor an encoder is run in the training loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.messages import MadePart, Modality, made_of
from inlay.recipes.data.features import FeatureCache
from inlay.recipes.data.lengths import lengths_of
from inlay.recipes.data.sample import DataError, Sample
from inlay.recipes.recipe import Stage

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
    model: AttachedModel, samples: Sequence[Sample], stage: Stage, features: FeatureCache | None = None
) -> list[StateRow]:
    """Run the frozen LLM over every conversation in which something is made, without dropout.

    Args:
        model: attached.
        samples: those in which nothing is made are left out.
        stage: whose layout they are laid out in.
        features: frozen features, if they are cached.

    Raises:
        DataError: nothing is made in any of them.
    """
    was_training = model.adapter.training
    model.adapter.eval()
    rows: dict[int, StateRow] = {}
    making = [sample for sample in samples if made_of(sample.messages)]
    lengths = lengths_of(making)
    order = sorted(range(len(making)), key=lambda place: lengths[place])
    for start in range(0, len(making), BATCH):
        places = order[start : start + BATCH]
        encoded = [model.encode(making[n].messages, layout=stage.layout, name=making[n].id) for n in places]
        with torch.no_grad():
            found = model.signal_states(model.collate(encoded, layout=stage.layout, features=features))
        taken = dict.fromkeys(found, 0)
        for place, row in zip(places, encoded, strict=True):
            states = {}
            for modality, whole in found.items():
                count = sum(part.modality == modality for part in row.made)
                states[modality] = whole[taken[modality] : taken[modality] + count].cpu().clone()
                taken[modality] += count
            rows[place] = StateRow(row.name, row.made, states)
    model.adapter.train(was_training)
    if not rows:
        raise DataError("expected conversations in which the assistant makes something, got none")
    return [rows[place] for place in range(len(making))]


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
