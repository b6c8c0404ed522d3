"""Choosing among given answers by likelihood, as BLIP-2 and InstructBLIP do for questions with a closed set of answers.

The score of an answer is the mean log-probability of its tokens, its end included. A sum would favour short answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.conversation.layout import Layout, LayoutError
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.model_core import ModelCore
from inlay.adapters.core.tiles import prepared
from inlay.adapters.encoders.protocol import load_for

__all__ = ["Ranked", "log_likelihood", "rank_answers"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate and its score."""

    text: str
    score: float
    """Mean log-probability per token, at most 0."""


def rank_answers(
    model: ModelCore[Any],
    conversations: Sequence[Sequence[Message]],
    candidates: Sequence[str] | Sequence[Sequence[str]],
    *,
    layout: Layout | None = None,
    features: Callable[[MediaPart], Tensor] | None = None,
    batch_size: int = 32,
) -> list[list[Ranked]]:
    """Sort the candidates of each conversation, the likeliest first; equal scores keep the given order.

    Args:
        model: an attached model.
        conversations: each ends with the user's turn.
        candidates: answers for all of them, or one list for each.
        layout: replaces the adapter's layout.
        features: function from a medium to its frozen features ``[tokens, width]``, if they are cached.
        batch_size: pairs of conversation and candidate in one forward pass; every medium in it is encoded once.

    Raises:
        LayoutError: no candidates, an empty one, a number of lists that differs from that of the conversations, or a
            batch size below 1.
        AttachError: the adapter is no longer attached.
    """
    if batch_size < 1:
        raise LayoutError(f"batch_size: expected a whole number from 1 on, got {batch_size}")
    choices = _choices(candidates, len(conversations))
    pairs = [
        (*conversation, Message("assistant", (TextPart(text),)))
        for conversation, texts in zip(conversations, choices, strict=True)
        for text in texts
    ]
    with model.held():  # so that another thread cannot swap adapters between two batches
        chosen = layout or model.adapter.layout
        scores = [score for group in _groups(pairs, batch_size) for score in _scores(model, group, chosen, features)]
    rest = iter(scores)
    ranked = [[Ranked(text, next(rest)) for text in texts] for texts in choices]
    return [sorted(row, key=lambda item: -item.score) for row in ranked]


def log_likelihood(logits: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Mean log-probability of each sequence's targets.

    Args:
        logits: ``[sum(counts), vocabulary]``, the rows of all sequences one after the other.
        targets: ``[sum(counts)]``.
        counts: ``[B]``, rows of each sequence.

    Returns:
        ``[B]``, in float32.

    Example:
        >>> even = torch.zeros(3, 4)
        >>> log_likelihood(even, torch.tensor([0, 1, 2]), torch.tensor([2, 1])).exp().tolist()
        [0.25, 0.25]
    """
    chosen = -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    return torch.stack([part.mean() for part in torch.split(chosen, counts.tolist())])


def _choices(candidates: Sequence[str] | Sequence[Sequence[str]], conversations: int) -> list[list[str]]:
    if isinstance(candidates, str):  # would be taken as a list of letters
        raise LayoutError(f"candidates: expected a list of answers, got the text {candidates!r}")
    if all(isinstance(item, str) for item in candidates):
        choices = [[str(item) for item in candidates]] * conversations
    else:
        choices = [list(item) for item in candidates]
    if any(not text.strip() for texts in choices for text in texts):
        raise LayoutError("candidates: expected answers with words, got an empty one; remove it")
    if len(choices) != conversations or not all(choices):
        raise LayoutError(
            f"candidates: expected at least one answer for each of the {conversations} conversations, got lists of "
            f"{', '.join(str(len(texts)) for texts in choices) or 'nothing'}"
        )
    return choices


def _groups(pairs: Sequence[tuple[Message, ...]], size: int) -> Iterator[Sequence[tuple[Message, ...]]]:
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _scores(
    model: ModelCore[Any],
    pairs: Sequence[Sequence[Message]],
    layout: Layout,
    features: Callable[[MediaPart], Tensor] | None,
) -> list[float]:
    rows = [model.encode(messages, layout=layout) for messages in pairs]
    with model.inference():
        batch = model.collate(rows, layout=layout, features=features or _features(model, rows, layout))
        batch = batch.to(model.backbone.device)
        llm = model.backbone.llm
        labelled, targets = llm.supervised(batch.labels, batch.target)
        logits = llm.logits(model.embeddings(batch), batch.mask, labelled, batch.target)
        return log_likelihood(logits, targets, labelled.sum(dim=1)).tolist()


def _features(model: ModelCore[Any], rows: Sequence[Encoded], layout: Layout) -> Callable[[MediaPart], Tensor]:
    """Frozen features of every medium, each encoded once for all candidates."""
    placed = {id(part): (part, grid) for row in rows for part, grid in zip(row.media, row.grids, strict=True)}
    tilers = model.tilers(layout)
    held: dict[int, Tensor] = {}
    for modality in model.modalities:
        own = {key: pair for key, pair in placed.items() if pair[0].modality == modality}
        if own:
            encoder, tiler = model.backbone.encoder(modality), tilers.get(modality)
            loaded = [load_for(encoder, modality, part.source) for part, _ in own.values()]
            grids = [grid for _, grid in own.values()]
            features = encoder.encode(prepared(encoder, loaded, layout.geometry_for(modality), tiler, grids))
            tiles = [grid.tiles for grid in grids if grid is not None]
            held.update(zip(own, features if tiler is None else torch.split(features, tiles), strict=True))
    return lambda part: held[id(part)]
