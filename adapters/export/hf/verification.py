"""The exported folder against the attached adapter: tensors, prompts, pictures, logits, and the greedy answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoProcessor
from transformers.utils import logging

from inlay.adapters.compatibility.canary import PROMPT, gradient
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.export.hf.chat_template import plain
from inlay.adapters.export.hf.expressible import Kind
from inlay.adapters.export.hf.model_config import CLASSES, KEY_TABLES
from inlay.adapters.export.hf.processor import stop_tokens
from inlay.adapters.export.report import Check
from inlay.adapters.export.request import Request
from inlay.adapters.export.tolerance import allowed_difference
from inlay.adapters.model import MultimodalModel

__all__ = ["check_tensors", "reload", "verify"]

_NEW_TOKENS = 16
_PIXELS = 0.05
"""The largest difference of a normalised pixel: programs round the resampled picture in different places."""


def reload(request: Request, kind: Kind, folder: Path) -> tuple[Any, Check]:
    """The model as transformers loads it, and whether every tensor was found under its name."""
    console: Any = logging
    verbosity, bars = console.get_verbosity(), console.is_progress_bar_enabled()
    console.set_verbosity_error()
    console.disable_progress_bar()
    try:
        model, info = CLASSES[kind][1].from_pretrained(
            folder,
            dtype=request.backbone.llm.dtype,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are named below
        )
    finally:
        console.set_verbosity(verbosity)
        if bars:
            console.enable_progress_bar()
    strange = sorted(
        str(name) for field in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[field]
    )
    check = Check(
        name="transformers finds every tensor",
        passed=not strange,
        compared=len(model.state_dict()),
        detail=", ".join(strange[:5]),
    )
    return model.eval().to(request.backbone.device), check


def check_tensors(kind: Kind, model: Any, written: Mapping[str, Tensor], tied: bool) -> Check:
    """Every tensor of the loaded model against what was to be written, bit for bit.

    Args:
        kind: class of the model.
        model: as transformers loaded it.
        written: our name -> tensor, computed again.
        tied: whether the head is the embedding.
    """
    wrong, met = [], set[str]()
    for name, tensor in model.state_dict().items():
        own = KEY_TABLES[kind].ours(name)
        if own is None or own not in written:
            head = model.get_output_embeddings()
            same = head is not None and tensor.data_ptr() == model.get_input_embeddings().weight.data_ptr()
            if not (tied and same):
                wrong.append(name)
            continue
        met.add(own)
        if not torch.equal(tensor.cpu(), written[own]):
            wrong.append(name)
    wrong += sorted(set(written) - met)
    return Check(
        name="tensors are equal",
        passed=not wrong,
        compared=len(met),
        difference=0.0 if not wrong else None,
        detail=", ".join(wrong[:5]),
    )


def verify(request: Request, kind: Kind, model: Any, folder: Path) -> list[Check]:
    """Compare prompts, pictures, logits and answers of the canary's rows.

    Args:
        request: the export.
        kind: class of the model.
        model: as transformers loaded it.
        folder: where its processor is.
    """
    loader: Any = AutoProcessor
    processor = loader.from_pretrained(folder, local_files_only=True)
    checks = []
    for name, row in _rows().items():
        with request.model.held(), request.model.inference():
            checks += _compare(request, kind, model, processor, name, row)
    return checks


def _rows() -> dict[str, tuple[Message, ...]]:
    """The canary's picture as a square and as a strip, which is padded, cropped or tiled."""
    square = gradient()
    strip = square.crop((0, 0, 64, 40))
    asked = TextPart(PROMPT)
    return {
        "a square picture": (Message("user", (MediaPart("image", square), asked)),),
        "a wide picture": (Message("user", (MediaPart("image", strip), asked)),),
    }


def _compare(
    request: Request, kind: Kind, model: Any, processor: Any, name: str, row: Sequence[Message]
) -> list[Check]:
    own, llm = request.model, request.backbone.llm
    batch = own.batch([list(row)], generation=True).to(request.backbone.device)
    picture: Any = next(part.source for part in row[0].content if isinstance(part, MediaPart))
    # BLIP's processors have no chat template of their own; it is their tokenizer's.
    renders = processor.tokenizer if kind in ("blip2", "instructblip") else processor
    text = renders.apply_chat_template([plain(m) for m in row], add_generation_prompt=True, tokenize=False)
    inputs = dict(processor(images=picture, text=text, return_tensors="pt").to(model.device))
    ids = batch.ids.clone()
    ids[batch.slots] = model.config.image_token_index
    same = ids.shape == inputs["input_ids"].shape and bool((ids.cpu() == inputs["input_ids"].cpu()).all())
    told = "" if same else f"expected {ids[0].tolist()}, got {inputs['input_ids'][0].tolist()}"
    checks = [Check(name=f"prompt of {name}", passed=same, compared=ids.shape[1], detail=told[:400])]
    pixels: Any = batch.inputs["image"]  # a tensor, of an encoder of pictures
    if kind == "llava_next":
        pixels = pixels[None]
    theirs = inputs["pixel_values"].to(pixels)
    fits = pixels.shape == theirs.shape
    apart = float((pixels - theirs).abs().max()) if fits else float("inf")
    checks.append(Check.within(f"pixels of {name}", apart, _PIXELS, compared=pixels.numel()))
    if not all(check.passed for check in checks):
        return checks
    inputs |= {"pixel_values": pixels.to(model.device, model.dtype)}
    ours = llm.logits(own.embeddings(batch), batch.mask)[0].float().cpu()
    with torch.no_grad():
        decoder = {"decoder_input_ids": _start(model)} if model.config.text_config.is_encoder_decoder else {}
        scores = model(**inputs, **decoder).logits[0].float().cpu()[-len(ours) :, : ours.shape[1]]
    finite = ours.isfinite()
    allowed = allowed_difference(ours, llm.dtype)
    difference = float((ours - scores).abs()[finite].max())
    checks.append(Check.within(f"logits of {name}", difference, allowed, compared=int(finite.sum())))
    checks.append(_greedy(request, model, batch, inputs, name, allowed))
    return checks


def _greedy(request: Request, model: Any, batch: Any, inputs: dict[str, Any], name: str, allowed: float) -> Check:
    """The greedy answers; where they part, both tokens must be as likely as rounding can make them."""
    own = request.model
    stops = set(stop_tokens(request))
    (ours,) = own.generate(batch, max_new_tokens=_NEW_TOKENS)
    whole = model.generate(**inputs, max_new_tokens=_NEW_TOKENS, do_sample=False)[0].tolist()
    prompt = inputs["input_ids"][0].tolist()
    theirs = whole[len(prompt) :] if whole[: len(prompt)] == prompt else whole
    start = model.config.text_config.decoder_start_token_id if model.config.text_config.is_encoder_decoder else None
    ours, theirs = ([i for i in _until(ids, stops) if i != start] for ids in (ours, theirs))
    place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    if ours == theirs:
        return Check(name=f"greedy answer to {name}", passed=True, compared=len(ours))
    if max(len(ours), len(theirs)) > place and request.backbone.llm.dtype != torch.float32 and start is None:
        gap = _gap(own, batch, ours, theirs, place)
        return Check.within(
            f"greedy answer to {name}",
            gap,
            2 * allowed,
            compared=place + 1,
            detail=f"token {place + 1} is a near tie in 16 bit; the difference is that of the two scores",
        )
    tokenizer = request.backbone.llm.tokenizer
    told = f"expected {tokenizer.decode(ours)!r}, got {tokenizer.decode(theirs)!r}"
    return Check(name=f"greedy answer to {name}", passed=False, compared=len(ours), detail=told)


def _until(ids: Sequence[int], stops: set[int]) -> list[int]:
    return list(ids[: next((i for i, token in enumerate(ids) if token in stops), len(ids))])


def _gap(model: MultimodalModel[Any], batch: Any, ours: list[int], theirs: list[int], place: int) -> float:
    """By how much our scores prefer our token to theirs, at the first place where they differ."""
    llm = model.backbone.llm
    before = llm.embed(torch.tensor([ours[:place]], dtype=torch.long, device=batch.ids.device))
    embeddings = torch.cat([model.embeddings(batch), before], dim=1)
    mask = torch.cat([batch.mask, batch.mask.new_ones(1, place)], dim=1)
    scores = llm.logits(embeddings, mask)[0, -1].float()
    other = theirs[place] if place < len(theirs) else int(llm.stop_ids[0])
    return float(scores.max() - scores[other]) if other < len(scores) else float("inf")


def _start(model: Any) -> Tensor:
    return torch.tensor([[model.config.text_config.decoder_start_token_id]], device=model.device)
