"""Conversations with different adapters in one batch, on one backbone.

Media go through the projector of their conversation's adapter, in its geometry and layout; then all rows go through the
LLM together, each with its own LoRA (:mod:`inlay.adapters.llm_parts.lora_per_row`). The answers equal those of running
the adapters one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from inlay.adapters.chat.replies import encode_all
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.conversation.segments import LayoutError
from inlay.adapters.core.attach import admit_row
from inlay.adapters.core.encode import Encoded
from inlay.adapters.core.model_core import ModelCore
from inlay.adapters.core.parts import AdapterParts
from inlay.adapters.language.occupancy import AttachError
from inlay.adapters.llm_parts.lora_per_row import mixed

__all__ = ["answer_mixed", "embed_mixed", "embed_rows", "generate_mixed", "with_lora_of"]


def answer_mixed(
    core: ModelCore[Any], conversations: Sequence[Sequence[Message]], adapters: Sequence[AdapterParts], **options: Any
) -> list[str]:
    """The answers as texts; see :meth:`inlay.adapters.model.MultimodalModel.answer`."""
    llm = core.backbone.llm
    if not conversations and not adapters:
        return []
    written = generate_mixed(core, conversations, adapters, **options)
    layout: Layout | None = options.get("layout")
    each = len(written) // len(adapters)
    chosen = [layout or adapter.layout for adapter in adapters for _ in range(each)]
    return [own.reply(llm.decode(ids, stop=core.turn_end(own).texts)) for ids, own in zip(written, chosen, strict=True)]


@torch.no_grad()
def generate_mixed(
    core: ModelCore[Any],
    conversations: Sequence[Sequence[Message]],
    adapters: Sequence[AdapterParts],
    *,
    layout: Layout | None = None,
    features: Callable[[MediaPart], Tensor] | None = None,
    names: Sequence[str] = (),
    **options: Any,
) -> list[list[int]]:
    """New token ids of each conversation.

    Args:
        core: a model with one of the adapters attached, or with another one whose LoRA has all their target modules.
        conversations: each ends with the user's turn.
        adapters: one per conversation; an adapter may occur several times.
        layout: one layout for all conversations, instead of each adapter's own.
        features: function from a medium to its frozen features, if they are cached.
        names: the names of the conversations, for errors.
        options: the options of transformers' ``generate``.

    Raises:
        AttachError: the numbers of adapters and conversations differ, an adapter has token rows or is attached to
            another backbone, or the layouts have different turn ends.
        IncompatibleBackbone: an adapter does not fit.
        LoraError: an adapter has LoRA on a module where the attached one has none.
    """
    ends = {core.turn_end(layout or adapter.layout) for adapter in adapters}
    if len(ends) > 1:
        names = ", ".join(sorted({(layout or adapter.layout).template for adapter in adapters}))
        raise AttachError(
            "one batch for several adapters: expected layouts whose answers end in the same tokens and stop texts, got "
            f"templates {names} with different ends; answer their conversations separately, or give layout="
        )
    with core.held():
        embeddings, mask = embed_mixed(core, conversations, adapters, layout=layout, features=features, names=names)
        with with_lora_of(core, adapters):
            rows = core.write(embeddings, mask, end=next(iter(ends), None), **options)
    return rows.rows


@torch.no_grad()
def embed_mixed(
    core: ModelCore[Any],
    conversations: Sequence[Sequence[Message]],
    adapters: Sequence[AdapterParts],
    *,
    layout: Layout | None = None,
    features: Callable[[MediaPart], Tensor] | None = None,
    names: Sequence[str] = (),
) -> tuple[Tensor, Tensor]:
    """The LLM's input ``[B, T, width]`` and its mask ``[B, T]``, padded in front, in the order of the conversations."""
    _check(core, adapters, len(conversations))
    labels = list(names) or [""] * len(conversations)
    if len(labels) != len(conversations):
        raise LayoutError(f"names: expected one for each of {len(conversations)} conversations, got {len(labels)}")
    encoded: dict[int, Encoded] = {}
    for adapter, places in _by_adapter(adapters).items():
        own, chosen = core.with_adapter(adapter), layout or adapter.layout
        named = [labels[i] for i in places]
        encoded.update(zip(places, encode_all(own, [conversations[i] for i in places], chosen, named), strict=True))
    return embed_rows(core, [encoded[i] for i in range(len(encoded))], adapters, layout=layout, features=features)


@torch.no_grad()
def embed_rows(
    core: ModelCore[Any],
    encoded: Sequence[Encoded],
    adapters: Sequence[AdapterParts],
    *,
    layout: Layout | None = None,
    features: Callable[[MediaPart], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`embed_mixed` for conversations that ``core.with_adapter(adapter)`` has encoded already."""
    rows: dict[int, tuple[Tensor, Tensor]] = {}
    for adapter, places in _by_adapter(adapters).items():
        own = core.with_adapter(adapter)
        part = [encoded[i] for i in places]
        batch = own.collate(part, layout=layout or adapter.layout, generation=True, features=features)
        batch = batch.to(core.backbone.device)
        rows.update(zip(places, zip(own.embeddings(batch), batch.mask, strict=True), strict=True))
    width = max(len(mask) for _, mask in rows.values())
    padded = [(F.pad(e, (0, 0, width - len(e), 0)), F.pad(mask, (width - len(mask), 0))) for e, mask in _sorted(rows)]
    return torch.stack([embedding for embedding, _ in padded]), torch.stack([mask for _, mask in padded])


def with_lora_of(core: ModelCore[Any], adapters: Sequence[AdapterParts]) -> AbstractContextManager[None]:
    """A context in which row ``i`` of every batch uses the LoRA of the ``i``-th adapter."""
    _check(core, adapters, len(adapters))
    attached = core.adapter.lora
    loras = [adapter.lora for adapter in adapters]
    if attached is not None:
        return mixed(attached, loras)
    if any(lora is not None for lora in loras):
        raise AttachError(
            "one batch for several adapters: the attached adapter has no LoRA and another has; swap to that one first"
        )
    return nullcontext()


def _check(core: ModelCore[Any], adapters: Sequence[AdapterParts], count: int) -> None:
    if not count:
        raise LayoutError("one batch for several adapters: expected at least one conversation, got none")
    if len(adapters) != count:
        raise AttachError(f"expected one adapter for each of {count} conversations, got {len(adapters)}")
    for adapter in dict.fromkeys([*adapters, core.adapter]):
        if adapter.tokens is not None:
            raise AttachError(
                f"adapter {adapter.name!r} has token rows, which apply to a whole batch; answer "
                "its conversations separately, after model.swap"
            )
        if adapter is not core.adapter:
            admit_row(adapter, core.backbone)


def _by_adapter(adapters: Sequence[AdapterParts]) -> Mapping[AdapterParts, list[int]]:
    found: dict[AdapterParts, list[int]] = {}
    for index, adapter in enumerate(adapters):
        found.setdefault(adapter, []).append(index)
    return found


def _sorted(rows: Mapping[int, tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    return (rows[index] for index in sorted(rows))
