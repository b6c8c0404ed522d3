"""The facts that name a cache space of the LLM's outputs, and the key of one conversation in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from torch import nn

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.compatibility.digest import exact_digest
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.encode import Encoded
from inlay.adapters.media.digest import media_digest
from inlay.recipes.data.cache.facts import configs_of, encoder_facts, tensor_digest, versions

__all__ = ["model_facts", "row_key"]


def model_facts(model: AttachedModel, layout: Layout) -> dict[str, Any]:
    """Everything that the LLM's output depends on besides the conversation: all in front of the output projectors.

    Args:
        model: the attached model; the bytes of its weights count.
        layout: whose geometry is used.
    """
    adapter, llm, encoder = model.adapter, model.backbone.llm, model.backbone.encoder
    front = nn.ModuleDict({"llm": llm.model, "inputs": adapter.inputs})
    further = {"tokens": adapter.tokens, "newline": adapter.newline, "lora": adapter.lora}
    front.update({name: part for name, part in further.items() if part is not None})
    return {
        "family": llm.family,
        "weights": exact_digest(front),
        "configs": configs_of(llm),
        "lora": repr(adapter.lora.config) if adapter.lora is not None else None,
        "projectors": {str(name): repr(adapter.projector(name).config) for name in model.modalities},
        "features": {
            str(name): encoder_facts(encoder(name), name, layout.geometry_for(name), layout.tiling_for(name))
            for name in model.modalities
        },
        "signals": {str(name): list(ids) for name, ids in adapter.signals.ids.items()},
        "dtype": str(llm.dtype),
        "attention": str(llm.model.config.get_text_config(decoder=True)._attn_implementation),
        "device": llm.device.type,
        "versions": versions(),
    }


def row_key(row: Encoded, digest: Callable[[MediaPart], str] | None = None) -> str:
    """64 hex digits over the ids of a conversation and the content of its media.

    Args:
        row: the encoded conversation.
        digest: identifies the content of a medium; the SHA-256 of its bytes if not given.
    """
    digest = digest or (lambda part: media_digest(part.modality, part.source).hex())
    prompts = [ids for modality in sorted(row.prompts) for ids in row.prompts[modality]]
    media = [f"shown {part.modality} {digest(part)}" for part in row.media]
    made = [f"made {part.modality}" for part in row.made]
    return hashlib.sha256(
        "\n".join([tensor_digest([row.ids, row.slots, *prompts]), *media, *made]).encode()
    ).hexdigest()
