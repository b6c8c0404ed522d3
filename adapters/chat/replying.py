"""From conversations to replies in one batch: lay out, write, read what was written once more, make media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from inlay.adapters.answering import Answering
from inlay.adapters.chat.kv_cache import PrefixCache
from inlay.adapters.chat.making import check_media, lacking, written_states
from inlay.adapters.chat.meta_dispatch import dispatch
from inlay.adapters.chat.reply import Reply, assemble, read
from inlay.adapters.chat.stream import text_stream
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message
from inlay.adapters.core.encode import Encoded
from inlay.adapters.generators import Made
from inlay.adapters.media.modality import Modality

__all__ = ["encode_all", "replies"]


def encode_all(
    model: Answering, conversations: Sequence[Sequence[Message]], layout: Layout, names: Sequence[str]
) -> list[Encoded]:
    """Every conversation as ids, ending where the answer begins."""
    labels = list(names) or [""] * len(conversations)
    return [
        model.encode(messages, layout=layout, generation=True, name=name)
        for messages, name in zip(conversations, labels, strict=True)
    ]


@torch.no_grad()
def replies(
    model: Answering,
    conversations: Sequence[Sequence[Message]],
    *,
    layout: Layout | None,
    features: Callable[[MediaPart], Tensor] | None,
    names: Sequence[str],
    media: Mapping[Modality, Mapping[str, Any]] | None,
    on_text: Callable[[str], None] | None,
    prefixes: PrefixCache | None,
    options: dict[str, Any],
) -> list[Reply]:
    """See :meth:`inlay.adapters.model.MultimodalModel.replies`."""
    adapter, backbone = model.adapter, model.backbone
    check_media(media or {}, backbone)
    chosen, llm, signals = layout or adapter.layout, backbone.llm, adapter.signals
    rows = encode_all(model, conversations, chosen, names)
    if on_text is not None:
        options["streamer"] = text_stream(llm, chosen, on_text, len(rows), options)
    if prefixes is not None and features is None and prefixes.takes(model, rows, options):
        written = [prefixes.write(model, rows[0], chosen, **options)]
        embeddings = mask = None
    else:
        batch = model.collate(rows, layout=chosen, generation=True, features=features).to(backbone.device)
        embeddings, mask = model.embeddings(batch), batch.mask
        written = model.write(embeddings, mask, stop=chosen.stop, **options)
    if chosen.meta:
        return dispatch(written, chosen, backbone, media or {})
    runs = [read(row, llm, chosen, signals) for row in written]
    asked = [modality for modality in signals.ids if any(modality in row for row in runs)]
    missing = {name: why for name in asked if (why := lacking(name, adapter, backbone)) is not None}
    made: dict[Modality, list[Made]] = {}
    if len(missing) < len(asked) and embeddings is not None and mask is not None:
        states = written_states(llm, embeddings, mask, written, signals)
        made = {
            name: model.make(name, states[name], **(media or {}).get(name, {})) for name in asked if name not in missing
        }
    return assemble(runs, made, missing, [len(row) for row in written])
