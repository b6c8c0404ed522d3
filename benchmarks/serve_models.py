"""A small backbone of random weights and eight adapters of one shape, in memory and as bundles.

LLaMA 256 x 12 and a CLIP with 625 features per picture; LoRA of rank 16 on all linears has 168 tensors, 3.75 MB in
float32, as in our measurement of peft's ``hotswap_adapter``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from inlay.adapters import Adapter, Backbone, ClipEncoder, LanguageModel, LoraConfig
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.freeze import freeze
from inlay.adapters.model import MultimodalModel
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["ADAPTERS", "Served", "build"]

ADAPTERS = 8
PIXELS, PATCH = 200, 8


@dataclass(frozen=True)
class Served:
    """The models that are measured."""

    bare: LlamaForCausalLM
    """The language model without an adapter."""
    adapters: list[Adapter]
    """The adapters, in eval mode; the first is attached."""
    model: MultimodalModel[Any]
    place: Path

    def folder(self, index: int) -> Path:
        """The bundle of an adapter."""
        return self.place / str(index)

    @property
    def about(self) -> str:
        """The sizes as one line of text."""
        lora = self.adapters[0].lora
        tensors = list(lora.parameters()) if lora is not None else []
        numbers = sum(tensor.numel() for tensor in tensors)
        sizes = self.bare.config
        made = f"LLaMA {sizes.hidden_size} x {sizes.num_hidden_layers}"
        return f"{made}, {len(tensors)} LoRA tensors, {4 * numbers / 1e6:.2f} MB in float32"


def build(place: Path, width: int = 256, layers: int = 12) -> Served:
    """Random weights from a fixed seed.

    Args:
        place: folder for the bundles.
        width: the width of the LLM, a multiple of 64.
        layers: the number of layers of the LLM.
    """
    torch.manual_seed(0)
    tokenizer = miniature_backbone().llm.tokenizer
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            max_position_embeddings=2048,
            tie_word_embeddings=False,
            initializer_range=0.05,
        )
    )
    tower = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=PIXELS,
        patch_size=PATCH,
    )
    processor = CLIPImageProcessorPil(size={"shortest_edge": PIXELS}, crop_size={"height": PIXELS, "width": PIXELS})
    bare = freeze(copy.deepcopy(llm))
    backbone = Backbone(LanguageModel(llm, tokenizer), {"image": ClipEncoder(CLIPVisionModel(tower), processor)})
    adapters = []
    for index in range(ADAPTERS):
        adapter = Adapter.for_backbone(
            backbone,
            system="llava",
            name=f"adapter {index}",
            layout=Layout(template="vicuna_v1"),
            inputs={"image": MlpConfig()},
            lora=LoraConfig(r=16, alpha=32.0),
        ).eval()
        for parameter in adapter.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
        adapter.save_pretrained(place / str(index))
        adapters.append(adapter)
    return Served(bare, adapters, adapters[0].attach(backbone), place)
