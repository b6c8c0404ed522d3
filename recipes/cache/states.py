"""By what name states of signal tokens go: the LLM, the adapter in front of them, the conversation as laid out."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from inlay.adapters.adapter import AttachedModel
from inlay.adapters.core.encode import Encoded
from inlay.recipes.cache.encoders import space_of
from inlay.recipes.cache.facts import configs_of, module_digest, versions
from inlay.recipes.cache.media import media_key
from inlay.recipes.cache.store import CacheStore, Space, digest_of
from inlay.recipes.settings.stage import Stage

__all__ = ["states_key", "states_space"]


def states_space(store: CacheStore, model: AttachedModel, stage: Stage) -> Space:
    """Where states lie that this model computes: every bit in front of an output projector counts, LoRA's too.

    Args:
        store: the folder.
        model: attached, in eval mode.
        stage: whose geometry media are brought to size by.
    """
    adapter, llm, layout = model.adapter, model.backbone.llm, stage.layout
    front = nn.ModuleDict({"llm": llm.model, "inputs": adapter.inputs})
    if adapter.tokens is not None:
        front["tokens"] = adapter.tokens
    if adapter.lora is not None:
        front["lora"] = adapter.lora
    facts: dict[str, Any] = {
        "kind": "states",
        "family": llm.family,
        "weights": module_digest(front),
        "configs": configs_of(llm),
        "lora": repr(adapter.lora.config) if adapter.lora is not None else None,
        "projectors": {str(name): repr(adapter.projector(name).config) for name in model.modalities},
        "features": {
            str(name): space_of(store, model.backbone.encoder(name), name, layout.geometry_for(name)).digest
            for name in model.modalities
        },
        "signals": {str(name): list(ids) for name, ids in adapter.signals.ids.items()},
        "dtype": str(llm.dtype),
        "device": llm.device.type,
        "versions": versions("audio", "video"),
    }
    return store.space(digest_of(facts), facts)


def states_key(store: CacheStore, row: Encoded) -> str:
    """Digest of a conversation in the layout's ids, with the digests of its media; 64 hex digits."""
    found = hashlib.sha256()
    read = [ids for modality in sorted(row.prompts) for ids in row.prompts[modality]]
    for tensor in (row.ids, row.slots, *read):
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for part in row.media:
        found.update(f"shown {part.modality} {media_key(store, part)}\n".encode())
    for made in row.made:
        found.update(f"made {made.modality}\n".encode())
    return found.hexdigest()
