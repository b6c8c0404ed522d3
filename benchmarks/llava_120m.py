"""A LLaVA with random weights, of 121 million parameters or another size, here and in transformers with peft.

Both sides have the same weights.

CLIP-like 384 x 8 (64 patches), LLaMA 768 x 8 with 32 000 words, two-layer projector, LoRA of rank 16 on all linears.
The batch has 8 conversations of 120 to 387 tokens: 1997 real ones in 3096 padded, of which 212 are labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from peft import LoraConfig as PeftConfig
from peft import get_peft_model
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers import LlavaForConditionalGeneration as HfLlava
from transformers.initialization import no_init_weights

from inlay.adapters.core.batch import Batch
from inlay.adapters.core.splice import insert
from inlay.adapters.inputs import build_projector
from inlay.adapters.language.freeze import freeze
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.model import LanguageModel
from inlay.adapters.llm_parts.lora import LoraConfig, LoraPart
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["LABELLED", "LENGTHS", "Made", "Ours", "Peers", "Sizes", "Trains", "Way", "make", "names_of", "rows_of"]

LENGTHS = (387, 330, 285, 250, 225, 210, 190, 120)
"""Tokens of the conversations, each with 64 picture positions; 1997 in all."""
LABELLED = (40, 34, 30, 26, 24, 22, 20, 16)
"""Labelled tokens at the end of each conversation; 212 in all."""
IMAGE_ID = 5
"""The placeholder of picture positions in their input; no token of the batch has this id."""

Trains: TypeAlias = Literal["lora", "projector"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the model; the defaults give 121 million parameters."""

    width: int = 768
    """Width of the LLM."""
    layers: int = 8
    """Layers of the LLM, and of the encoder."""
    vision: int = 384
    """Width of the encoder."""
    vocabulary: int = 32000
    """Size of the vocabulary."""
    rank: int = 16
    """Rank of LoRA."""
    prefix: int = 1
    """Tokens before the picture."""
    family: Literal["llama", "qwen2"] = "llama"
    """Family of the LLM; Qwen2 has biases in its attention."""
    ffn: int = 0
    """Hidden width of the LLM's MLPs; 0 for 8/3 of its width."""
    heads: int = 0
    """Attention heads of the LLM; 0 for one per 64 values of its width."""
    key_heads: int = 0
    """Heads of keys and values; 0 for as many as attention heads."""
    vision_layers: int = 0
    """Layers of the encoder; 0 for as many as the LLM has."""
    pixels: int = 112
    """Side of a picture in pixels; the side of a patch is 14."""

    @property
    def patches(self) -> int:
        """Positions of a picture."""
        return int((self.pixels // 14) ** 2)

    @property
    def text(self) -> dict[str, Any]:
        """Configuration of the LLM, with the names of transformers."""
        heads = self.heads or self.width // 64
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.ffn or self.width * 8 // 3,
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
            "num_key_value_heads": self.key_heads or heads,
            "max_position_embeddings": 4096,
        }


@dataclass(frozen=True)
class Made:
    """The parts, and a batch for them."""

    vision: CLIPVisionModel
    llm: LlamaForCausalLM | Qwen2ForCausalLM
    projector: nn.Module
    batch: Batch
    pixels: Tensor
    sizes: Sizes


def make(
    sizes: Sizes | None = None,
    lengths: Sequence[int] = LENGTHS,
    labelled: Sequence[int] = LABELLED,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Made:
    """Random weights and a random batch from a fixed seed.

    Args:
        sizes: sizes of the model.
        lengths: tokens of each conversation, picture positions included.
        labelled: labelled tokens at the end of each conversation.
        device: device of the frozen models.
        dtype: data type of the frozen models; the projector is in float32.
    """
    sizes = sizes or Sizes()
    torch.manual_seed(0)
    tower = CLIPVisionConfig(
        hidden_size=sizes.vision,
        intermediate_size=4 * sizes.vision,
        num_hidden_layers=sizes.vision_layers or sizes.layers,
        num_attention_heads=sizes.vision // 64,
        image_size=sizes.pixels,
        patch_size=14,
    )
    spread = 0.05 if sizes.width < 2048 else 0.02
    kind, config = (LlamaForCausalLM, LlamaConfig) if sizes.family == "llama" else (Qwen2ForCausalLM, Qwen2Config)
    text: Any = config(**sizes.text, tie_word_embeddings=False, initializer_range=spread)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            vision, llm = freeze(CLIPVisionModel(tower)), freeze(kind(text))
            pixels = torch.randn(len(lengths), 3, sizes.pixels, sizes.pixels)
    finally:
        torch.set_default_dtype(before)
    llm.config.use_cache = False
    projector = build_projector("mlp", {"width_in": sizes.vision, "width_out": sizes.width}).to(device)
    batch = _batch(sizes, _features(vision, pixels), lengths, labelled)
    return Made(vision, llm, projector, batch.to(torch.device(device)), pixels, sizes)


def rows_of(made: Made, rows: Sequence[int]) -> tuple[Batch, Tensor]:
    """A batch of some conversations, padded to the longest of them, and their pictures."""
    chosen = list(rows)
    whole = made.batch
    longest = int(whole.mask[chosen].sum(dim=1).max())
    batch = replace(
        whole,
        ids=whole.ids[chosen, :longest],
        labels=whole.labels[chosen, :longest],
        mask=whole.mask[chosen, :longest],
        slots=whole.slots[chosen, :longest],
        order=tuple(whole.order[row] for row in chosen),
        features={"image": whole.features["image"][chosen]},
    )
    return batch, made.pixels[chosen]


def encoded(made: Made) -> Tensor:
    """Frozen features ``[8, 64, vision]`` of the layer before the last, without the class token."""
    return _features(made.vision, made.pixels)


@torch.no_grad()
def _features(vision: Any, pixels: Tensor) -> Tensor:
    features: Tensor = vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    return features


def _batch(sizes: Sizes, features: Tensor, lengths: Sequence[int], labelled: Sequence[int]) -> Batch:
    longest, patches = max(lengths), features.shape[1]
    ids = torch.randint(10, sizes.vocabulary - 10, (len(lengths), longest))
    place = torch.arange(longest).expand_as(ids)
    ends, trained = torch.tensor(list(lengths))[:, None], torch.tensor(list(labelled))[:, None]
    mask = (place < ends).long()
    slots = (place >= sizes.prefix) & (place < sizes.prefix + patches)
    ids = ids.masked_fill(slots | (mask == 0), 2)
    order: tuple[Literal["image"], ...] = tuple("image" for _ in lengths)
    labels = ids.masked_fill(~((place < ends) & (place >= ends - trained)), IGNORE)
    return Batch(ids=ids, labels=labels, mask=mask, slots=slots, order=order, features={"image": features})


def names_of(projector: nn.Module, lora: LoraPart | None) -> dict[str, nn.Parameter]:
    """Trained parameters, under names that both sides share."""
    found = {f"projector.{name}": parameter for name, parameter in projector.named_parameters()}
    for target in lora.targets if lora is not None else ():
        found[f"{target}.A"], found[f"{target}.B"] = lora.matrices(target)  # type: ignore[union-attr]
    return found


@dataclass(frozen=True, kw_only=True)
class Way:
    """The variant of a training step; the defaults are the fast path."""

    fused: bool = True
    """Whether LoRA has its own autograd function; otherwise torch's autograd is used."""
    head: Literal["chunked", "labelled", "all"] = "chunked"
    """The positions that go through the LM head, and whether in chunks."""
    prune: bool = True
    """Whether positions that no label depends on are left out."""
    encode: bool = False
    """Whether the encoder is run; otherwise its cached features are used."""


class Ours(nn.Module):
    """Encoder, projector, splice and language model, run as by an attached adapter.

    Args:
        made: the parts.
        trains: ``lora`` for LoRA and the projector, or the projector alone.
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
        """Compute the loss."""
        with nullcontext() if self.lora is None or way.fused else self.lora.plain():
            return self._loss(batch, way)

    def _loss(self, batch: Batch, way: Way) -> Tensor:
        words = self.llm.embed(batch.ids)
        features = encoded(self.made) if way.encode else batch.features["image"]
        projected = self.projector(features.to(next(self.projector.parameters()).dtype)).flatten(0, 1)
        embeddings = insert(words, batch.slots, projected.to(words.dtype))
        plan = self.llm.plan(batch.labels, batch.mask)
        rows, targets = plan.rows, plan.targets
        if way.head == "chunked":
            return self.llm.loss(embeddings, batch.mask, plan, prune=way.prune)
        every = way.head == "all"
        scores = self.llm.logits(embeddings, batch.mask, None if every else rows)
        return nn.functional.cross_entropy((scores[rows] if every else scores).float(), targets)

    def trained(self) -> dict[str, nn.Parameter]:
        """Trained parameters, under names that both sides share."""
        return names_of(self.projector, self.lora)


class Peers(nn.Module):
    """``LlavaForConditionalGeneration`` with peft's LoRA: the same frozen weights, and copies of the trained ones.

    Args:
        made: the parts.
        lora: LoRA whose matrices are copied; None to train the projector alone.
    """

    def __init__(self, made: Made, lora: LoraPart | None) -> None:
        super().__init__()
        config = LlavaConfig(
            vision_config=made.vision.config,
            text_config=made.llm.config,
            image_token_index=IMAGE_ID,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            image_seq_length=made.sizes.patches,
            tie_word_embeddings=False,
        )
        device = made.pixels.device
        with no_init_weights(), torch.device(device):
            model = freeze(HfLlava(config))
        inner: Any = model.model
        # Frozen weights are shared, because few machines have memory for two copies of 7B.
        inner.vision_tower.load_state_dict(made.vision.state_dict(), assign=True)
        own = {name.replace(".base_layer", ""): p for name, p in made.llm.state_dict().items() if "lora_" not in name}
        inner.language_model.load_state_dict(
            {n.removeprefix("model."): p for n, p in own.items() if "lm_head" not in n}, assign=True
        )
        model.lm_head.load_state_dict({"weight": own["lm_head.weight"]}, assign=True)
        projector: Any = made.projector
        inner.multi_modal_projector.linear_1.load_state_dict(projector.layers[0].state_dict())
        inner.multi_modal_projector.linear_2.load_state_dict(projector.layers[2].state_dict())
        model.requires_grad_(False)
        self.net: Any = model
        if lora is not None:
            targets = [f"model.language_model.{name.removeprefix('model.')}" for name in lora.targets]
            peft = PeftConfig(r=made.sizes.rank, lora_alpha=32, lora_dropout=0.0, target_modules=targets)
            self.net = get_peft_model(model, peft)
            layers = dict(self.net.named_modules())
            for ours_name, theirs in zip(lora.targets, targets, strict=True):
                layer: Any = layers[f"base_model.model.{theirs}"]
                down, up = lora.matrices(ours_name)
                layer.lora_A["default"].weight.data.copy_(down)
                layer.lora_B["default"].weight.data.copy_(up)
        inner.multi_modal_projector.requires_grad_(True)
        self.pixels = made.pixels

    def inputs(self, batch: Batch, pixels: Tensor) -> dict[str, Tensor]:
        """Arguments of the class, with the placeholder's id at picture positions."""
        ids = batch.ids.masked_fill(batch.slots, IMAGE_ID)
        return {"input_ids": ids, "attention_mask": batch.mask, "pixel_values": pixels, "labels": batch.labels}

    def forward(self, batch: Batch) -> Tensor:
        """The loss of the whole batch from their class, which runs the encoder and computes all logits."""
        loss: Tensor = self.net(**self.inputs(batch, self.pixels), use_cache=False).loss
        return loss

    def trained(self) -> dict[str, nn.Parameter]:
        """Trained parameters, as in :meth:`Ours.trained`."""
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
