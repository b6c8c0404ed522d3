"""What one tiny language model can do, against transformers' own numbers; rows of docs/results/families.md."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from inlay.adapters.adapter import Adapter
from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import projector_config
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.lora import LoraConfig, LoraPart
from inlay.adapters.llm_parts.lora_targets import left_out
from inlay.adapters.loading.language import load_language

__all__ = ["LanguageRow", "check_language"]

LENGTHS = (9, 4, 6)


@dataclass(frozen=True, kw_only=True)
class LanguageRow:
    """The results for one family."""

    loss_gap: float
    """Our loss of a padded batch from embeddings, minus transformers' own from ids, relative."""
    same_words: bool
    """Greedy generation from embeddings writes the tokens of that from ids."""
    targets: tuple[str, ...]
    """Names that all-linear stands for."""
    untouched: tuple[str, ...]
    """What all-linear leaves out."""
    dead: tuple[str, ...]
    """LoRA matrices that get no gradient."""
    words: str
    """How a conversation with a picture ended: ``stop`` or ``length``."""
    head: bool
    packs: bool


def check_language(folder: Path, model: Any, encoder: Any) -> LanguageRow:
    """Load a folder that a model was saved to, and compare with the model.

    Args:
        folder: model and tokenizer.
        model: of transformers, in eval mode; ids from 0 to 299 are in its vocabulary.
        encoder: an image encoder.
    """
    llm = load_language(folder)
    gap, same = _encoder_decoder(llm, model) if model.config.is_encoder_decoder else _decoder(llm, model)
    (paths,) = llm._paths.values() if llm._paths else (None,)
    part, dead = _lora(llm)
    return LanguageRow(
        loss_gap=gap,
        same_words=same,
        targets=part.config.explicit,
        untouched=left_out(llm.model),
        dead=dead,
        words=_chat(llm, encoder),
        head=bool(paths and paths.head),
        packs=bool(paths and paths.packs),
    )


def _batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = (torch.arange(max(LENGTHS)).expand(len(LENGTHS), -1) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(10, 300, mask.shape)
    labels = torch.where(mask.bool(), ids, -100)
    labels[:, 0] = -100
    return ids, mask, labels


def _decoder(llm: LanguageModel, model: Any) -> tuple[float, bool]:
    ids, mask, labels = _batch()
    with torch.no_grad():
        scores = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        # transformers' loss of a causal model, written out: some families scale it or add a term for their routers.
        wanted = torch.nn.functional.cross_entropy(scores.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        found = llm.loss(llm.embed(ids), mask, llm.plan(labels, mask))
        options = {"max_new_tokens": 4, "do_sample": False}
        first, own = ids[:1], mask[:1]
        words = llm.generate(llm.embed(first), own, **options).rows[0]
        ends = {"pad_token_id": llm.pad_id, "eos_token_id": llm.stop_ids}
        theirs = model.generate(first, attention_mask=own, **ends, **options)[0, first.shape[1] :].tolist()
    return float((found - wanted).abs() / wanted), words == theirs[: len(words)]


def _encoder_decoder(llm: LanguageModel, model: Any) -> tuple[float, bool]:
    ids, mask, target = _batch()
    with torch.no_grad():
        # transformers puts the pad token in the place of the labels that are left out, and so do we.
        target[:, 0] = ids[:, 0]
        wanted = model(input_ids=ids, attention_mask=mask, labels=target, use_cache=False).loss
        found = llm.loss(llm.embed(ids), mask, llm.plan(ids, mask, target), target)
        options = {"max_new_tokens": 4, "do_sample": False}
        words = llm.generate(llm.embed(ids[:1]), mask[:1], **options).rows[0]
        ends = {"pad_token_id": llm.pad_id, "eos_token_id": llm.stop_ids}
        theirs = model.generate(ids[:1], attention_mask=mask[:1], **ends, **options)[0, 1:].tolist()
    return float((found - wanted).abs() / wanted), words == theirs[: len(words)]


def _lora(llm: LanguageModel) -> tuple[LoraPart, tuple[str, ...]]:
    """LoRA on all-linear, and its matrices that a step would not change."""
    part = LoraPart.for_model(llm.model, LoraConfig(r=2))
    ids, mask, labels = _batch()
    target = ids if llm.model.config.is_encoder_decoder else None
    with closing(part.attach(llm.model)):
        llm.loss(llm.embed(ids), mask, llm.plan(labels, mask, target), target).backward()
    ups = [name for name in part.targets if not part.matrices(name)[1].grad.any()]
    return part, tuple(ups)


def _chat(llm: LanguageModel, encoder: Any) -> str:
    """One answer about a picture, through an untrained adapter."""
    backbone = Backbone(llm, {"image": encoder})
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name="tiny",
        layout=Layout(template="vicuna_v1"),
        inputs={"image": projector_config("linear", {})},
        lora=LoraConfig(r=2),
    )
    content = [{"type": "image", "image": Image.new("RGB", (20, 14))}, {"type": "text", "text": "how many?"}]
    model = adapter.attach(backbone)
    try:
        return model.chat([{"role": "user", "content": content}], max_new_tokens=2).finish_reason
    finally:
        adapter.detach()
