"""The target ``hf``: one merged model of transformers in the names of version 4.51.

These are the names that transformers from 4.3x to 5.23, vLLM, SGLang and mlx-vlm all read. LoRA is merged into the
language model, rows of new tokens are in its embedding and head, and everything is in the language model's data type.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from inlay.adapters.convert.keys import KeyTable
from inlay.adapters.export.hf.chat_template import IMAGE, rendering_differences
from inlay.adapters.export.hf.expressible import Kind, kind_of
from inlay.adapters.export.hf.model_config import CLASSES, KEY_TABLES, model_config, own_tensors
from inlay.adapters.export.hf.processor import export_tokenizer, write_processor
from inlay.adapters.export.hf.server_names import name_checks
from inlay.adapters.export.hf.verification import check_tensors, reload, verify
from inlay.adapters.export.merged import LazyTensors, language_tensors, token_ids
from inlay.adapters.export.new_folder import check_space
from inlay.adapters.export.report import Check, Written
from inlay.adapters.export.request import Request
from inlay.adapters.export.shards import write_shards
from inlay.adapters.export.target import ExportError

__all__ = ["write"]


def write(request: Request, folder: Path) -> Written:
    """Write and verify; see :data:`~inlay.adapters.export.target.Exporter`.

    Raises:
        ExportError: the adapter cannot be expressed, with the reason.
    """
    kind = kind_of(request)
    keys = KEY_TABLES[kind]
    tokenizer = export_tokenizer(request)
    image_id = int(tokenizer.convert_tokens_to_ids(IMAGE))
    llm: Any = request.backbone.llm.model
    tied = _tied(request, kind)
    language = language_tensors(request.model, rows=image_id + 1, tied=tied)
    tensors = own_tensors(request, language)
    width = request.backbone.llm.dtype.itemsize
    modules: tuple[Any, ...] = (llm, request.backbone.encoder("image"), request.adapter.projector("image"))
    check_space(folder, width * sum(tensor.numel() for module in modules for tensor in module.parameters()))
    template = write_processor(request, kind, tokenizer, folder)
    rows = [image_id, *token_ids(request.model)]
    vocabulary = max(max(rows) + 1, int(llm.get_input_embeddings().weight.shape[0]))
    config = model_config(request, kind, image_id=image_id, vocabulary=vocabulary, tied=tied)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    named = {_their_name(keys, name): name for name in tensors}
    written = write_shards(
        LazyTensors({their: partial(tensors.__getitem__, own) for their, own in named.items()}), folder
    )
    model, found = reload(request, kind, folder)
    differing = rendering_differences(template, request.adapter.layout, request.backbone.llm.tokenizer)
    servers, unread = name_checks(kind, named)
    checks = [
        *servers,
        Check(name="chat template", passed=not differing, compared=5, detail="; ".join(differing)),
        found,
    ]
    if found.passed:
        checks += [check_tensors(kind, model, tensors, tied), *verify(request, kind, model, folder)]
    return Written(
        checks=tuple(checks),
        packages=("transformers", "tokenizers", "safetensors"),
        notes=(*_notes(request, kind), *unread),
        facts={"class": CLASSES[kind][1].__name__, "dtype": config["dtype"], "tensors": len(named), "bytes": written},
    )


def _tied(request: Request, kind: Kind) -> bool:
    """Whether the head is the embedding in the exported model too; rows of new tokens make them differ."""
    llm: Any = request.backbone.llm.model
    # Llava ties embeddings of this place alone, which are not OPT's.
    placed = kind in ("blip2", "instructblip") or "model.embed_tokens.weight" in llm.state_dict()
    own = request.adapter.tokens is None and llm.get_output_embeddings() is not None
    return own and placed and llm.get_output_embeddings().weight is llm.get_input_embeddings().weight


def _their_name(keys: KeyTable, name: str) -> str:
    if (found := keys.theirs(name)) is None:
        raise ExportError(f"{name}: no tensor of this class has this name")
    return found


def _notes(request: Request, kind: Kind) -> tuple[str, ...]:
    notes = []
    layout = request.adapter.layout
    if texts := [text for text in layout.stops if text not in ("\n",)]:
        notes.append(f"an answer also ends at the texts {texts}, which a generation config cannot say: cut there")
    if kind in ("blip2", "instructblip"):
        notes.append(
            "the processor puts the places of the picture in front of the text; the chat template is the tokenizer's, "
            "and gives the text alone: processor.tokenizer.apply_chat_template(..., tokenize=False)"
        )
        vision: Any = request.backbone.encoder("image")
        own, theirs = request.adapter.projector("image").config.norm_eps, vision.model.config.layer_norm_eps
        if own != theirs:
            notes.append(
                f"the norm behind the tower has epsilon {own:g} in the adapter and {theirs:g}, the tower's, here; the "
                "logits were compared with this difference"
            )
    if kind == "instructblip":
        limit = request.adapter.projector("image").config.prompt_tokens
        notes.append(
            f"the adapter reads the last {limit} tokens of an instruction, and the processor all: cut longer ones"
        )
    return tuple(notes)
