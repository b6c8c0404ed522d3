"""KV-cache reuse: a second question about a picture does not compute the picture's positions again.

In a causal model the keys and values of a position depend on the positions up to it and on the weights. So the KV cache
of a conversation is stored after its answer, and the next call reuses the longest common prefix: equal tokens, and
equal media (by bytes, geometry, tiling and, for a projector that reads it, the instruction). Encoder and projector are
not run for media in that prefix. vLLM keys its prefix blocks in the same way.

The stored caches belong to one attachment of one adapter with its current weights: a swap, an optimizer step or any
other change in place clears them. (Torch does not count changes through ``parameter.data``; call ``clear()`` after
them.)
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.model_core import ModelCore
from inlay.adapters.core.parts import AdapterParts
from inlay.adapters.language.generation.generate import Generation
from inlay.adapters.language.wiring.decoder_only import DecoderOnly
from inlay.adapters.media.digest import media_digest
from inlay.hub.errors import InlayError

__all__ = ["MAX_BYTES", "PrefixCache", "prefix_cache"]

MAX_BYTES = 512 << 20
"""Default limit in bytes; a 7B model with 32 heads takes half a megabyte per position in bfloat16."""

Key: TypeAlias = tuple[object, ...]
"""One entry per position: the id of a token, or the identity of one feature of a medium."""


@dataclass(frozen=True)
class _Kept:
    key: Key
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values ``[1, heads, positions, width]`` of each layer."""

    @property
    def size(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


def prefix_cache(mib: int) -> PrefixCache | None:
    """A cache of this size in MiB; None for 0."""
    return PrefixCache(mib << 20) if mib else None


class PrefixCache:
    """Keys and values of conversations, the latest last, with a limit in bytes.

    Args:
        max_bytes: limit on the bytes of all keys and values. The oldest are removed first; a conversation that is
            larger than the limit is not stored.

    Raises:
        InlayError: the limit is below one byte.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes < 1:
            raise InlayError(f"max_bytes: expected a number of bytes from 1 on, got {max_bytes}")
        self.max_bytes = max_bytes
        self.reused = 0
        """Number of positions of the last conversation whose keys and values were reused."""
        self._kept: list[_Kept] = []
        self._weights: tuple[object, ...] = ()
        self._owners: tuple[weakref.ref[object], ...] = ()
        """The attachment and the adapter, as objects: an ``id`` could be that of another adapter later."""

    @property
    def bytes(self) -> int:
        """Size of all stored caches."""
        return sum(kept.size for kept in self._kept)

    def clear(self) -> None:
        """Remove all stored caches."""
        self._kept, self._weights, self._owners, self.reused = [], (), (), 0

    def takes(self, core: ModelCore[Any], rows: Sequence[Encoded], options: dict[str, Any]) -> bool:
        """Whether a call can reuse a stored prefix.

        It can for one conversation without beams, if the LLM is causal and keeps all its keys, and if the adapter is in
        eval mode (dropout differs in each call) and has no signal tokens (their states need the whole conversation).
        """
        llm = core.backbone.llm
        config = llm.model.generation_config
        beams = int(options.get("num_beams") or getattr(config, "num_beams", None) or 1)
        sequences = int(options.get("num_return_sequences") or getattr(config, "num_return_sequences", None) or 1)
        plain = {"past_key_values", "use_cache", "cache_implementation", "prompt_lookup_num_tokens", "assistant_model"}
        return (
            len(rows) == beams == sequences == 1
            and not plain & set(options)
            and isinstance(llm.wiring, DecoderOnly)
            and not core.adapter.training
            and not core.adapter.signals.ids
            and all(type(layer) is DynamicLayer for layer in DynamicCache(config=llm.model.config).layers)
        )

    def write(self, core: ModelCore[Any], row: Encoded, layout: Layout, **options: Any) -> Generation:
        """Answer one conversation; see :meth:`inlay.adapters.model.MultimodalModel.write`.

        Args:
            core: a model for which :meth:`takes` is True.
            row: the conversation.
            layout: the layout whose geometry and turn end are used.
            options: the options of transformers' ``generate``.
        """
        weights, owners = _weights(core.adapter), (core.attachment, core.adapter)
        if weights != self._weights or tuple(owner() for owner in self._owners) != owners:
            self.clear()
            self._weights, self._owners = weights, tuple(weakref.ref(owner) for owner in owners)
        key, starts = _key(row, layout)
        found, cut = self._longest(key[:-1])  # the last position is always computed: its logits give the next token
        # A medium is projected as a whole, so a medium that the prefix cuts is computed again.
        cut = next((start for start, stop in starts if start < cut < stop), cut)
        cache = DynamicCache(config=core.backbone.llm.model.config)
        if found is not None and cut:
            for index, (keys, values) in enumerate(found.layers):
                cache.update(keys[..., :cut, :], values[..., :cut, :], index)
        tail = core.collate([_behind(row, cut, starts)], layout=layout, generation=True).to(core.backbone.device)
        behind = core.embeddings(tail)
        # transformers uses only the shape of the embeddings that the cache covers.
        embeddings = torch.cat([behind.new_zeros(1, cut, behind.shape[2]), behind], dim=1)
        mask = tail.mask.new_ones(1, len(key))
        self.reused = cut
        written = core.write(embeddings, mask, end=core.turn_end(layout), past_key_values=cache, **options)
        self._keep(key + tuple(written.rows[0]), cache)
        return written

    def _longest(self, key: Key) -> tuple[_Kept | None, int]:
        """The stored cache with the longest common prefix, and the length of that prefix."""
        lengths = [sum(1 for _ in takewhile(_same, zip(kept.key, key, strict=False))) for kept in self._kept]
        longest = max(lengths, default=0)
        return (self._kept[lengths.index(longest)], longest) if longest else (None, 0)

    def _keep(self, key: Key, cache: DynamicCache) -> None:
        """Store a cache and remove those that are prefixes of it."""
        layers: list[tuple[Tensor, Tensor]] = []
        for layer in cache.layers:
            if not isinstance(layer, DynamicLayer) or layer.keys is None or layer.values is None:
                return
            layers.append((layer.keys, layer.values))
        new = _Kept(key[: cache.get_seq_length()], tuple(layers))
        self._kept = [kept for kept in self._kept if kept.key != new.key[: len(kept.key)]]
        self._kept.append(new)
        while self._kept and self.bytes > self.max_bytes:
            del self._kept[0]


def _same(pair: tuple[object, object]) -> bool:
    return pair[0] == pair[1]


def _weights(adapter: AdapterParts) -> tuple[object, ...]:
    """A key that changes with the adapter and with each write to its weights; inference tensors count no writes."""
    return tuple((id(p), p.data_ptr(), 0 if p.is_inference() else p._version) for p in adapter.parameters())


def _key(row: Encoded, layout: Layout) -> tuple[Key, list[tuple[int, int]]]:
    """The token or the part of a medium at each position, and the positions where each medium begins and ends."""
    key: list[object] = row.ids.tolist()
    places = row.slots.nonzero().flatten().tolist()
    words = {modality: iter(prompts) for modality, prompts in row.prompts.items()}
    spans: list[tuple[int, int]] = []
    for part, count in zip(row.media, row.counts, strict=True):
        own, places = places[:count], places[count:]
        read = tuple(next(words[part.modality]).tolist()) if part.modality in words else ()
        prepared = layout.geometry_for(part.modality), layout.tiling_for(part.modality)
        known = (part.modality, *prepared, media_digest(part.modality, part.source), read)
        for index, place in enumerate(own):
            key[place] = (known, index)
        spans.append((own[0], own[-1] + 1))
    return tuple(key), spans


def _behind(row: Encoded, cut: int, spans: Sequence[tuple[int, int]]) -> Encoded:
    """The rest of a conversation from a position on."""
    left = [start >= cut for start, _ in spans]
    media: list[MediaPart] = [part for part, keep in zip(row.media, left, strict=True) if keep]
    prompts = {
        modality: ids[len(ids) - sum(part.modality == modality for part in media) :]
        for modality, ids in row.prompts.items()
    }
    return replace(
        row,
        ids=row.ids[cut:],
        labels=row.labels[cut:],
        slots=row.slots[cut:],
        media=tuple(media),
        prompts=prompts,
        counts=tuple(count for count, keep in zip(row.counts, left, strict=True) if keep),
        grids=tuple(grid for grid, keep in zip(row.grids, left, strict=True) if keep),
    )
