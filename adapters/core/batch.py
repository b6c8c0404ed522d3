"""Collating encoded conversations into one padded batch of tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.conversation.messages import MadePart, MessageError
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.prompts import Prompts
from inlay.adapters.core.tiles import Tiles
from inlay.adapters.encoders.protocol import Inputs
from inlay.adapters.language.labels import IGNORE, PadSide, pad
from inlay.adapters.language.packing.loss_plan import LossPlan
from inlay.adapters.media.modality import Modality

__all__ = ["Batch", "collate"]


@dataclass(frozen=True)
class Batch:
    """``B`` conversations, padded to ``T``."""

    ids: Tensor
    """``[B, T]``; the pad id in padding and in media slots."""
    labels: Tensor
    """``[B, T]``; :data:`IGNORE` where no loss is computed."""
    mask: Tensor
    """``[B, T]``; 1 where there is a token or a feature."""
    slots: Tensor
    """``[B, T]`` bool; True in media slots."""
    order: tuple[Modality, ...] = ()
    """Modality of each medium, in reading order over the whole batch."""
    inputs: Mapping[Modality, Inputs] = field(default_factory=dict)
    """Preprocessed media, ``[n, ...]`` a modality."""
    features: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Cached frozen features ``[n, tokens, width]``, with which the encoder is not run."""
    tiles: Mapping[Modality, Tiles] = field(default_factory=dict)
    """Modality whose media are tiled -> their grids; ``n`` is then the number of tiles in ``inputs`` and
    ``features``."""
    names: tuple[str, ...] = ()
    """Sample ids."""
    target: Tensor | None = None
    """``[B, U]``; targets of an encoder-decoder's decoder, :data:`IGNORE` in the padding."""
    prompts: Mapping[Modality, Prompts] = field(default_factory=dict)
    """Modality whose projector reads prompts -> the words of each medium's turn in the projector's own tokens."""
    made: tuple[MadePart, ...] = ()
    """Media in the assistant's turns, in reading order over the whole batch."""
    branches: tuple[tuple[int, ...], ...] = ()
    """For each row the lengths of its prefix and branches, () for a row without; empty if no row has branches."""
    _planned: tuple[LossPlan, tuple[int, ...]] | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def plan(self) -> LossPlan | None:
        """Labelled rows and row lengths, found on the CPU so that the step needs no host sync.

        None for a batch from ``dataclasses.replace``, and after labels, mask or target were changed in place, because
        the plan would belong to other labels.
        """
        if self._planned is None or self._planned[1] != self._versions():
            return None
        return self._planned[0]

    def _versions(self) -> tuple[int, ...]:
        """Version counters of the tensors that a plan depends on; inference tensors have none."""
        tensors = (self.labels, self.mask, self.target)
        return tuple(0 if t is None or t.is_inference() else t._version for t in tensors)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_planned": self.plan}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The version counter of a copy, such as one from a DataLoader worker, starts at zero.
        plan = state.pop("_planned")
        self.__dict__.update(state, _planned=None)
        if plan is not None:
            self.__dict__["_planned"] = (plan, self._versions())

    @property
    def supervised(self) -> Tensor:
        """``[B]`` bool: the samples with at least one label."""
        return ((self.labels if self.target is None else self.target) != IGNORE).any(dim=1)

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = replace(
            self,
            ids=self.ids.to(device),
            labels=self.labels.to(device),
            mask=self.mask.to(device),
            slots=self.slots.to(device),
            inputs={key: _moved(value, device) for key, value in self.inputs.items()},
            features={key: value.to(device) for key, value in self.features.items()},
            target=None if self.target is None else self.target.to(device),
            prompts={key: value.to(device) for key, value in self.prompts.items()},
        )
        plan = self.plan
        return moved if plan is None else moved.planned(plan.to(device))

    def planned(self, plan: LossPlan) -> Batch:
        """The batch with its loss plan."""
        batch = copy.copy(self)
        object.__setattr__(batch, "_planned", (plan, self._versions()))
        return batch

    def __len__(self) -> int:
        return len(self.ids)


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def collate(rows: Sequence[Encoded], pad_id: int, side: PadSide = "right") -> Batch:
    """Pad encoded conversations into one batch; the caller adds the media.

    Args:
        rows: one or more conversations.
        pad_id: token id of the padding.
        side: side of the padding: right for training, left for generation.

    Raises:
        MessageError: no conversation.
    """
    if not rows:
        raise MessageError("expected at least one conversation in a batch, got an empty list")
    ones = [torch.ones_like(row.ids) for row in rows]
    targets = [row.target for row in rows if row.target is not None]
    ids, mask = pad([row.ids for row in rows], pad_id, side), pad(ones, 0, side)
    labels, slots = pad([row.labels for row in rows], IGNORE, side), pad([row.slots for row in rows], False, side)
    return Batch(
        ids=ids,
        labels=labels,
        mask=mask,
        slots=slots,
        order=tuple(part.modality for row in rows for part in row.media),
        names=tuple(row.name for row in rows),
        target=pad(targets, IGNORE, "right") if targets else None,
        made=tuple(part for row in rows for part in row.made),
        branches=tuple(row.branches for row in rows) if any(row.branches for row in rows) else (),
    )
