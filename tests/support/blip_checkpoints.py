"""Tiny BLIP-2 and InstructBLIP of transformers as folders, and their tensors under the names of LAVIS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from random_weights import perturbed
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    BlipImageProcessorPil,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    LlamaConfig,
    OPTConfig,
)

from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.language.labels import IGNORE

__all__ = ["QUERIES", "VISION", "blip_folder", "blip_logits_differ", "hf_blip", "lavis"]

QUERIES = 3
VISION = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}
QFORMER = {
    "hidden_size": 128,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "encoder_hidden_size": 24,
}
_TO_LAVIS = (
    (r"^vision_model\.post_layernorm\.", "ln_vision."),
    (r"^vision_model\.embeddings\.class_embedding$", "visual_encoder.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding$", "visual_encoder.pos_embed"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual_encoder.patch_embed.proj."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.layer_norm", r"visual_encoder.blocks.\1.norm"),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.qkv\.", r"visual_encoder.blocks.\1.attn.qkv."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection\.", r"visual_encoder.blocks.\1.attn.proj."),
    (r"^vision_model\.encoder\.layers\.(\d+)\.mlp\.", r"visual_encoder.blocks.\1.mlp."),
    (r"^qformer\.(?:embeddings\.)?layernorm\.", "Qformer.bert.embeddings.LayerNorm."),
    (r"^qformer\.", "Qformer.bert."),
    (r"\.(attention|crossattention)\.attention\.", r".\1.self."),
)
"""The renames of transformers' converters, reversed."""


def hf_blip(system: str, tokenizer: Any, *, family: str = "opt", vocabulary: int = 40, text: Any = None) -> Any:
    """A random model whose norms and query tokens show when they are left out."""
    torch.manual_seed(4)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    own = OPTConfig(**sizes, ffn_dim=48, word_embed_proj_dim=32) if family == "opt" else None
    llama = LlamaConfig(**sizes, intermediate_size=48, num_key_value_heads=2)
    fields = {
        "vision_config": VISION,
        "text_config": (text or own or llama).to_dict(),
        "num_query_tokens": QUERIES,
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
    }
    if system == "blip2":
        model: Any = Blip2ForConditionalGeneration(Blip2Config(**fields, qformer_config=QFORMER))
    else:
        former = QFORMER | {"vocab_size": vocabulary, "max_position_embeddings": 32}
        model = InstructBlipForConditionalGeneration(InstructBlipConfig(**fields, qformer_config=former))
    return perturbed(model, 0.1, seed=7).eval()


def blip_folder(folder: Path, model: Any, tokenizer: Any, prompts: Any = None) -> Path:
    """The model as transformers saves it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = {"height": 16, "width": 16}
    BlipImageProcessorPil(size=side).save_pretrained(folder)
    if prompts is not None:
        prompts.tokenizer.save_pretrained(folder / "qformer_tokenizer")
    return folder


def lavis(model: Any, projection: str, *, vision: bool = False) -> dict[str, Tensor]:
    """What LAVIS saves of a model with a frozen LLM; with the vision tower if that was trained too."""
    named: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("language_model.") or (".encoder.layers." in name and not vision):
            continue
        if name.startswith("vision_model.embeddings.") and not vision:
            continue
        for pattern, target in _TO_LAVIS:
            name = re.sub(pattern, target, name)
        name = re.sub(r"^language_projection\.", f"{projection}.", name)
        if name.endswith("attn.qkv.bias"):
            start = name.removesuffix("qkv.bias")
            named[f"{start}q_bias"], _, named[f"{start}v_bias"] = (part.clone() for part in tensor.chunk(3))
        else:
            named[name] = tensor.clone()
    return named


def blip_logits_differ(model: Any, reference: Any, image_of: Any) -> float:
    """The largest difference between our logits and those of the model of transformers, for two questions."""
    questions = ["what colour is the large circle?", "how many squares are there?"]
    answer = Message("assistant", (TextPart("two of them"),))
    batch = model.batch(
        [
            (Message("user", (MediaPart("image", image_of(seed)), TextPart(question))), answer)
            for seed, question in enumerate(questions)
        ]
    )
    ids = batch.ids.clone()
    ids[batch.slots] = reference.config.image_token_index
    inputs = {"input_ids": ids, "attention_mask": batch.mask, "pixel_values": batch.inputs["image"]}
    if model.backbone.prompt_tokenizer is not None:
        read = model.backbone.prompt_tokenizer.tokenizer(questions, padding=True, return_tensors="pt")
        inputs |= {"qformer_input_ids": read.input_ids, "qformer_attention_mask": read.attention_mask}
    apart = batch.target is not None
    with torch.no_grad():
        ours = model(batch, logits="all").logits
        theirs = reference(**inputs, labels=batch.target if apart else batch.labels).logits
    real = (batch.target != IGNORE) if apart else batch.mask.bool()
    return float((ours - theirs).abs()[real].max())
