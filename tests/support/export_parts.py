"""Adapters and backbones that exports are tried on, and the models that transformers loads from the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from blip_checkpoints import QFORMER, QUERIES, hf_blip
from transformers import BlipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

from inlay.adapters import Adapter, Backbone, Layout, LoraConfig, TokensConfig
from inlay.adapters.encoders.image.any_vision import AnyVisionEncoder
from inlay.adapters.encoders.image.eva import EvaEncoder
from inlay.adapters.inputs.registry import projector_config

__all__ = ["CHATML", "FORMER", "adapter_on", "blip_backbone", "chat_backbone", "loaded", "siglip_backbone"]

FORMER = {
    "queries": QUERIES,
    "hidden": QFORMER["hidden_size"],
    "layers": QFORMER["num_hidden_layers"],
    "heads": QFORMER["num_attention_heads"],
    "ffn": QFORMER["intermediate_size"],
    "norm_eps": 1e-6,
}
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TARGETS = {"t5": ("q", "v"), "gpt2": ("c_attn", "c_fc")}


def adapter_on(
    backbone: Backbone,
    kind: str = "mlp",
    *,
    layout: Layout | None = None,
    tokens: tuple[str, ...] = (),
    r: int | None = 4,
    **sizes: Any,
) -> Adapter:
    """An adapter whose parts all show when they are left out."""
    torch.manual_seed(3)
    adapter = Adapter.for_backbone(
        backbone,
        system={"mlp": "llava", "qformer": "blip2", "instruct_qformer": "instructblip"}.get(kind, "own"),
        name="exported",
        layout=layout or Layout(template="vicuna_v1"),
        inputs={"image": projector_config(kind, sizes)},
        tokens=TokensConfig(width=backbone.llm.width, other=tokens) if tokens else None,
        lora=LoraConfig(r=r, alpha=8.0, targets=_TARGETS.get(backbone.llm.family, ("q_proj", "v_proj"))) if r else None,
    )
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return adapter.eval()


def blip_backbone(llm: Any, prompts: Any = None) -> Backbone:
    """BLIP-2's tower with a language model, and a tokenizer of instructions."""
    whole = hf_blip("blip2", llm.tokenizer)
    tower = getattr(whole, "model", whole).vision_model
    return Backbone(llm, {"image": EvaEncoder(tower, BlipImageProcessorPil(size={"height": 16, "width": 16}))}, prompts)


def siglip_backbone(llm: Any, layer: Any) -> Backbone:
    """A SigLIP of three layers with a language model."""
    torch.manual_seed(5)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    tower = SiglipVisionModel(SiglipVisionConfig(**sizes, image_size=16, patch_size=8))
    processor = BlipImageProcessorPil(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    return Backbone(llm, {"image": AnyVisionEncoder(tower, processor, layer=layer)})


def chat_backbone(backbone: Backbone, template: str = CHATML) -> Backbone:
    """The backbone with a chat template of its own."""
    tokenizer = backbone.llm.tokenizer
    tokenizer.chat_template = template
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    backbone.llm.model.resize_token_embeddings(len(tokenizer))
    return backbone


def loaded(model_class: Any, folder: Path) -> Any:
    """The folder as transformers loads it, after all of its tensors were found."""
    model, info = model_class.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()
