"""A LLaVA of 121 million random weights, as ours and as transformers' and peft's own, with the very same numbers.

CLIP-like 384 x 8 (64 patches), LLaMA 768 x 8 with 32 000 words, two-layer projector, LoRA of rank 16 on all linears.
The batch has 8 conversations of 120 to 387 tokens: 1997 real ones in 3096 padded, of which 212 are labelled.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from peft import LoraConfig as PeftConfig
from peft import get_peft_model
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, LlavaConfig
from transformers import LlavaForConditionalGeneration as HfLlava

from inlay.adapters.batch import Batch
from inlay.adapters.freeze import freeze
from inlay.adapters.inputs import build_projector
from inlay.adapters.language import LanguageModel
from inlay.adapters.lora import LoraConfig, LoraPart
from inlay.adapters.splice import IGNORE, insert
from inlay.recipes.backbones import miniature_backbone

__all__ = ["LENGTHS", "Made", "Ours", "Peers", "Sizes", "Trains", "Way", "make"]

LENGTHS = (387, 330, 285, 250, 225, 210, 190, 120)
"""Tokens of the conversations, 64 of them a picture's; 1997 in all."""
LABELLED = (40, 34, 30, 26, 24, 22, 20, 16)
"""Labelled tokens at their ends; 212 in all."""
IMAGE_ID = 5
"""Stands where the picture is, on their side; no word of the batch."""

Trains: TypeAlias = Literal["lora", "projector"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of the model; the defaults are the 121 million."""

    width: int = 768
    """Of the LLM."""
    layers: int = 8
    """Of the LLM, and of the encoder."""
    vision: int = 384
    """Width of the encoder."""
    vocabulary: int = 32000
    """Words."""
    rank: int = 16
    """Of LoRA."""
    prefix: int = 1
    """Tokens in front of the picture."""


@dataclass(frozen=True)
class Made:
    """The parts, and a batch for them."""

    vision: CLIPVisionModel
    llm: LlamaForCausalLM
    projector: nn.Module
    batch: Batch
    pixels: Tensor
    sizes: Sizes


def make(sizes: Sizes | None = None) -> Made:
    """Random weights and a random batch, always the same."""
    sizes = sizes or Sizes()
    torch.manual_seed(0)
    tower = CLIPVisionConfig(
        hidden_size=sizes.vision,
        intermediate_size=4 * sizes.vision,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.vision // 64,
        image_size=112,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        intermediate_size=sizes.width * 8 // 3,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.width // 64,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        initializer_range=0.05,
    )
    vision, llm = freeze(CLIPVisionModel(tower)), freeze(LlamaForCausalLM(text))
    fields = {"width_in": sizes.vision, "width_out": sizes.width}
    projector = build_projector("mlp", fields)
    pixels = torch.randn(len(LENGTHS), 3, 112, 112)
    batch = _batch(sizes, _features(vision, pixels))
    return Made(vision, llm, projector, batch, pixels, sizes)


def encoded(made: Made) -> Tensor:
    """Frozen features ``[8, 64, vision]`` of the layer before the last, without the class token."""
    return _features(made.vision, made.pixels)


@torch.no_grad()
def _features(vision: Any, pixels: Tensor) -> Tensor:
    features: Tensor = vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    return features


def _batch(sizes: Sizes, features: Tensor) -> Batch:
    longest, patches = max(LENGTHS), features.shape[1]
    ids = torch.randint(10, sizes.vocabulary - 10, (len(LENGTHS), longest))
    place = torch.arange(longest).expand_as(ids)
    lengths, labelled = torch.tensor(LENGTHS)[:, None], torch.tensor(LABELLED)[:, None]
    mask = (place < lengths).long()
    slots = (place >= sizes.prefix) & (place < sizes.prefix + patches)
    trained = (place < lengths) & (place >= lengths - labelled)
    ids = ids.masked_fill(slots | (mask == 0), 2)
    order: tuple[Literal["image"], ...] = tuple("image" for _ in LENGTHS)
    labels = ids.masked_fill(~trained, IGNORE)
    return Batch(ids=ids, labels=labels, mask=mask, slots=slots, order=order, features={"image": features})


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is taken; the defaults are the fast path."""

    fused: bool = True
    """LoRA with its own autograd, or peft's layers."""
    head: Literal["chunked", "labelled", "all"] = "chunked"
    """Which positions are scored, and whether in chunks."""
    prune: bool = True
    """Leave out what no label asks for."""
    encode: bool = False
    """Run the encoder, or take its features from a cache."""


class Ours(nn.Module):
    """Encoder, projector, splice and language model, as an attached adapter runs them, without a tokenizer of its own.

    Args:
        made: the parts.
        trains: LoRA and the projector, or the projector alone.
    """

    def __init__(self, made: Made, trains: Trains) -> None:
        super().__init__()
        self.made, self.projector = made, made.projector
        self.llm = LanguageModel(made.llm, miniature_backbone().llm.tokenizer)
        self.lora = None
        if trains == "lora":
            self.lora = LoraPart.for_model(made.llm, LoraConfig(r=made.sizes.rank, alpha=32.0))
            torch.manual_seed(1)
            for name in self.lora.targets:
                nn.init.normal_(self.lora.matrices(name)[1], std=0.02)
            self.lora.attach(made.llm)

    def forward(self, batch: Batch, way: Way) -> Tensor:
        """The loss."""
        with nullcontext() if self.lora is None or way.fused else self.lora.plain():
            return self._loss(batch, way)

    def _loss(self, batch: Batch, way: Way) -> Tensor:
        words = self.llm.embed(batch.ids)
        features = encoded(self.made) if way.encode else batch.features["image"]
        projected = self.projector(features.to(next(self.projector.parameters()).dtype)).flatten(0, 1)
        embeddings = insert(words, batch.slots, projected.to(words.dtype))
        rows, targets = self.llm.supervised(batch.labels)
        if way.head == "chunked":
            return self.llm.loss(embeddings, batch.mask, rows, targets, prune=way.prune)
        every = way.head == "all"
        scores = self.llm.logits(embeddings, batch.mask, None if every else rows)
        return nn.functional.cross_entropy((scores[rows] if every else scores).float(), targets)

    def trained(self) -> dict[str, nn.Parameter]:
        """What trains, by names that both sides share."""
        found = {f"projector.{name}": parameter for name, parameter in self.projector.named_parameters()}
        if self.lora is not None:
            for target in self.lora.targets:
                found[f"{target}.A"], found[f"{target}.B"] = self.lora.matrices(target)
        return found


class Peers(nn.Module):
    """``LlavaForConditionalGeneration`` with peft's LoRA, holding copies of the same weights.

    Args:
        made: the parts.
        ours: whose trained values it begins with.
    """

    def __init__(self, made: Made, ours: Ours) -> None:
        super().__init__()
        config = LlavaConfig(
            vision_config=made.vision.config,
            text_config=made.llm.config,
            image_token_index=IMAGE_ID,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            image_seq_length=64,
        )
        model = freeze(HfLlava(config))
        inner: Any = model.model
        inner.vision_tower.load_state_dict(made.vision.state_dict())
        own = {name.replace(".base_layer", ""): p for name, p in made.llm.state_dict().items() if "lora_" not in name}
        inner.language_model.load_state_dict(
            {n.removeprefix("model."): p for n, p in own.items() if "lm_head" not in n}
        )
        model.lm_head.load_state_dict({"weight": own["lm_head.weight"]})
        projector: Any = made.projector
        inner.multi_modal_projector.linear_1.load_state_dict(projector.layers[0].state_dict())
        inner.multi_modal_projector.linear_2.load_state_dict(projector.layers[2].state_dict())
        self.names: dict[str, str] = {}
        self.net: Any = model
        if ours.lora is not None:
            targets = [f"model.language_model.{name.removeprefix('model.')}" for name in ours.lora.targets]
            peft = PeftConfig(r=made.sizes.rank, lora_alpha=32, lora_dropout=0.0, target_modules=targets)
            self.net = get_peft_model(model, peft)
            layers = dict(self.net.named_modules())
            for ours_name, theirs in zip(ours.lora.targets, targets, strict=True):
                layer: Any = layers[f"base_model.model.{theirs}"]
                down, up = ours.lora.matrices(ours_name)
                layer.lora_A["default"].weight.data.copy_(down)
                layer.lora_B["default"].weight.data.copy_(up)
        inner.multi_modal_projector.requires_grad_(True)
        self.pixels = made.pixels

    def forward(self, batch: Batch) -> Tensor:
        """The loss, with the encoder run and all positions scored, as the class does it."""
        ids = batch.ids.masked_fill(batch.slots, IMAGE_ID)
        output = self.net(
            input_ids=ids, attention_mask=batch.mask, pixel_values=self.pixels, labels=batch.labels, use_cache=False
        )
        loss: Tensor = output.loss
        return loss

    def trained(self) -> dict[str, nn.Parameter]:
        """As :meth:`Ours.trained`."""
        found = {}
        for name, parameter in self.net.named_parameters():
            short = name.removeprefix("base_model.model.").removeprefix("model.")
            if "multi_modal_projector" in short:
                short = short.replace("multi_modal_projector.linear_1", "projector.layers.0")
                found[short.replace("multi_modal_projector.linear_2", "projector.layers.2")] = parameter
            elif "lora_" in short:
                target, _, matrix = short.removeprefix("language_model.").partition(".lora_")
                found[f"model.{target}.{matrix[0]}"] = parameter
        return found
