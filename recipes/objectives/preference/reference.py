"""The reference model: the adapter at the start of the stage, live or as stored log-probabilities.

Switching LoRA off would not give the reference, since the projector is trained too. An adapter has a few megabytes, so
a frozen copy of all its tensors is the reference, which replaces them for one forward pass. Alternatively its
log-probabilities are computed once, before training.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.batch import Batch
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.results import TokenLogProbs
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.media.digest import media_digest
from inlay.recipes.data.cache.facts import tensor_digest
from inlay.recipes.data.cache.fill import fill
from inlay.recipes.data.cache.model_facts import model_facts, row_key
from inlay.recipes.data.cache.store import CacheStore
from inlay.recipes.data.rows.sample import medium_key
from inlay.recipes.objectives.preference.other_media import Changed
from inlay.recipes.objectives.preference.pairs import PairRow

__all__ = ["FrozenCopy", "StoredReference"]

BATCH = 16
"""Number of preference rows per forward pass of the reference."""


class FrozenCopy:
    """A copy of an adapter's tensors, which can replace them temporarily.

    Args:
        model: the attached model with the weights of the reference.
    """

    def __init__(self, model: AttachedModel) -> None:
        self.model = model
        self.tensors = [parameter.detach().clone() for parameter in model.adapter.parameters()]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the adapter has the copied values; no gradient may be recorded in it."""
        parameters = list(self.model.adapter.parameters())
        trained = [parameter.data for parameter in parameters]
        # Autocast caches converted weights by the identity of the parameter, not by its values.
        torch.clear_autocast_cache()
        try:
            for parameter, own in zip(parameters, self.tensors, strict=True):
                parameter.data = own
            yield
        finally:
            for parameter, own in zip(parameters, trained, strict=True):
                parameter.data = own
            torch.clear_autocast_cache()

    def log_probs(self, batch: Batch) -> TokenLogProbs:
        """The reference's log-probabilities of a batch."""
        device = next(self.model.adapter.parameters()).device
        self.tensors = [tensor.to(device) for tensor in self.tensors]
        with self.model.inference(), self.in_place():
            return self.model.log_probs(batch)

    def digest(self) -> str:
        """64 hex digits over the copied tensors."""
        return tensor_digest(self.tensors)


class StoredReference:
    """The reference's log-probabilities of every token, computed once, in memory or in a folder that runs share.

    The folder's name depends on the adapter's weights, the frozen models, dtype and attention; the key of a row depends
    on its ids and media.

    Args:
        model: the attached model with the weights of the reference.
        layout: the layout of the conversations.
        store: the cache on disk; None for memory only.
        show: prints a line for the user.
    """

    def __init__(
        self, model: AttachedModel, layout: Layout, store: CacheStore | None, show: Callable[[str], None]
    ) -> None:
        self.model, self.layout, self.store, self.show = model, layout, store, show
        self.held: dict[str, Tensor] = {}
        self._space = store.space({"kind": "log_probs"} | model_facts(model, layout)) if store else None

    def key(self, row: Encoded) -> str:
        """64 hex digits over a row's ids, labels, branches and media; with a store, over the content of its media."""
        labels = row.labels if row.target is None else row.target
        text = f"{row_key(row, _content if self._space else _name)} {tensor_digest([labels])} {row.branches}"
        return hashlib.sha256(text.encode()).hexdigest()

    def fill(self, pairs: Iterable[PairRow], collate: Callable[[Sequence[Encoded]], Batch]) -> None:
        """Compute the missing log-probabilities.

        Args:
            pairs: all rows of the stage.
            collate: rows of the LLM -> a batch with their media.
        """
        rows = {self.key(row): row for pair in pairs for row in pair.rows}

        def compute(missing: Sequence[str]) -> Sequence[Tensor]:
            own = [rows[key] for key in missing]
            with self.model.inference():
                found = self.model.log_probs(collate(own))
            counts = [_labelled(row) for row in own]
            return [piece.clone() for piece in torch.split(found.tokens.cpu(), counts)]

        filled = fill(
            self._space,
            {key: (_labelled(row),) for key, row in rows.items() if key not in self.held},
            compute,
            group=BATCH,
            item_bytes=4,
            memory=sys.maxsize,
            what="reference log-probabilities",
            show=self.show,
        )
        if filled is not None:
            self.held |= filled.tensors

    def tokens(self, rows: Sequence[Encoded]) -> Tensor:
        """``[n]``, the log-probabilities of all labelled tokens of these rows, in reading order."""
        return torch.cat([self.held[self.key(row)] for row in rows])


def _labelled(row: Encoded) -> int:
    labels = row.labels if row.target is None else row.target
    return int((labels != IGNORE).sum())


def _content(part: MediaPart) -> str:
    if isinstance(part.source, Changed):
        return f"{media_digest(part.modality, part.source.part.source).hex()} {part.source.change!r}"
    return media_digest(part.modality, part.source).hex()


def _name(part: MediaPart) -> str:
    return repr(part.source.key if isinstance(part.source, Changed) else medium_key(part))
