"""The export target ``gguf``: ``lora.gguf``, ``base.gguf`` and ``mmproj.gguf`` for llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.compatibility.canary import PROMPT, pattern
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.export.gguf.architectures import architecture_of
from inlay.adapters.export.gguf.base import base_content
from inlay.adapters.export.gguf.gguf_file import GgufContent, GgufError, read_back, write_gguf
from inlay.adapters.export.gguf.llama_library import LlamaCpp, has_llama_cpp, llama_cpp_version
from inlay.adapters.export.gguf.lora import lora_content
from inlay.adapters.export.gguf.mmproj import CLIP_ISSUE, DIFFERENCES, has_class_token, mmproj_content, mmproj_problem
from inlay.adapters.export.options import GgufOptions
from inlay.adapters.export.report import Check, Written
from inlay.adapters.export.request import Request
from inlay.adapters.model import MultimodalModel

__all__ = ["check_adapter", "write"]

_ALLOWED = {"f32": 1e-4, "f16": 1e-2, "q8_0": 0.1}
"""Largest difference of the canary's logits, as a share of their largest value."""


def check_adapter(adapter: Adapter) -> None:
    """Check that llama.cpp supports the parts of an adapter that are inside the language model.

    Raises:
        GgufError: rows for new tokens, or a LoRA for a family that llama.cpp does not have.
    """
    if adapter.tokens is not None:
        raise GgufError(
            f"gguf: adapter {adapter.name!r} has rows for new tokens in the head of the language model, and llama.cpp "
            "adds a LoRA to linears alone; run it with torch: inlay chat or inlay serve"
        )
    if adapter.lora is not None:
        architecture_of(adapter.interface["llm"].family)


def write(request: Request, folder: Path) -> Written:
    """Write the files of an attached adapter and read them back.

    Args:
        request: the attached adapter, and :class:`~inlay.adapters.export.options.GgufOptions`.
        folder: an empty folder.

    Raises:
        GgufError: nothing of the adapter can be written, or llama.cpp has no such language model.
    """
    options: GgufOptions = request.options
    adapter, llm = request.adapter, request.backbone.llm
    check_adapter(adapter)
    contents: dict[str, GgufContent] = {}
    notes: list[str] = []
    if adapter.lora is not None:
        contents["lora.gguf"] = lora_content(adapter.lora, llm.model.config, adapter.name)
    else:
        notes.append("the adapter has no LoRA, so there is no lora.gguf")
    if options.base is not None:
        contents["base.gguf"] = base_content(llm.model, options.base, llm.source or "")
        notes.append("base.gguf has no vocabulary: it is for --runtime llamacpp, which tokenises by itself")
    _projector(request, contents, notes)
    if not contents:
        raise GgufError(
            f"gguf: adapter {adapter.name!r} has no LoRA, so nothing can be written without --base (the language "
            "model) or --mmproj (encoder and projector)"
        )
    checks = []
    for name, content in contents.items():
        write_gguf(folder / name, content)
        found = read_back(folder / name, content)
        detail = "rounding of the stored type" if found.largest_difference else ""
        checks.append(
            Check(
                name=f"{name}: header and tensors, read back with gguf",
                passed=True,
                compared=found.tensors,
                difference=found.largest_difference,
                detail=detail,
            )
        )
    facts: dict[str, Any] = {"files": {name: (folder / name).stat().st_size for name in contents}}
    if options.base is not None and has_llama_cpp():
        lora = folder / "lora.gguf" if "lora.gguf" in contents else None
        checks.append(_canary(request.model, folder / "base.gguf", lora, options.base))
        facts["llama_cpp"] = llama_cpp_version()
    elif options.base is not None:
        notes.append("llama.cpp is not installed here (pip install 'inlay[llamacpp]'), so its logits were not compared")
    return Written(
        checks=tuple(checks),
        packages=("gguf", "transformers"),
        notes=tuple(notes),
        facts=facts,
    )


def _projector(request: Request, contents: dict[str, GgufContent], notes: list[str]) -> None:
    """The mmproj file if it was asked for, and otherwise a note that the projector stays in torch."""
    options: GgufOptions = request.options
    adapter: Adapter = request.adapter
    if not (options.mmproj or options.unsafe_clip):
        notes.append(
            "encoder and projector stay in the bundle: inlay chat RUN --runtime llamacpp --gguf BASE runs them in torch"
        )
        return
    if tuple(adapter.inputs) != ("image",):
        raise GgufError(
            f"mmproj: expected an adapter for pictures alone, got one for {', '.join(adapter.inputs) or 'text'}; serve "
            "with --runtime llamacpp, which takes every encoder and projector"
        )
    encoder, projector = request.backbone.encoder("image"), adapter.projector("image")
    if (
        problem := mmproj_problem(encoder, projector, tiled=adapter.layout.tiling_for("image") is not None)
    ) is not None:
        raise GgufError(f"mmproj: {problem}; serve with --runtime llamacpp, which takes every encoder and projector")
    contents["mmproj.gguf"] = mmproj_content(encoder, projector, unsafe_clip=options.unsafe_clip)
    notes += [f"mmproj.gguf: {difference}" for difference in DIFFERENCES]
    if has_class_token(encoder):
        notes.append(f"mmproj.gguf: llama.cpp computes wrong features for encoders with a class token: {CLIP_ISSUE}")


def _canary(model: MultimodalModel[Adapter], base: Path, lora: Path | None, kind: str) -> Check:
    """Logits of one question about the canary's media: torch beside llama.cpp."""
    ports = model.adapter.interface
    media: list[Any] = [MediaPart(name, pattern(name, ports.get(name))) for name in model.modalities]
    with model.inference():
        batch = model.batch([[Message("user", (*media, TextPart(PROMPT)))]], generation=True).to(model.backbone.device)
        embeddings = model.embeddings(batch)
        expected = model.backbone.llm.logits(embeddings, batch.mask)[0, -1].float().cpu()
    with LlamaCpp(base, lora, cache="f32" if kind == "f32" else "f16") as engine:
        found = torch.from_numpy(engine.begin([np.asarray(embeddings[0].float().cpu())])[0])
    largest = float(expected[expected.isfinite()].abs().max())
    return Check.within(
        "logits of the canary in llama.cpp, encoder and projector in torch",
        float((found - expected)[expected.isfinite()].abs().max()),
        _ALLOWED[kind] * max(1.0, largest),
        compared=len(expected),
        detail="the first token is the same"
        if int(found.argmax()) == int(expected.argmax())
        else "another first token",
    )
