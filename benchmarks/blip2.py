"""BLIP-2's second stage after the first epoch: ours reads cached features of the frozen ViT, theirs runs it.

``Blip2ForConditionalGeneration`` in ``Trainer``, with Q-Former, queries, ``ln_vision`` and the linear layer training,
against our *generate* stage on cached features. Dropout is off on both sides, so that they can be compared.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForConditionalGeneration

from benchmarks.equal import train_step
from benchmarks.hf_loop import fit_theirs, optimizer_like_ours
from benchmarks.lightning_loop import fit_ours
from benchmarks.necessary import head_size, llm_blocks, necessary
from benchmarks.outcome import Outcome
from benchmarks.setting import Setting
from benchmarks.timing import Spent
from benchmarks.training import Small, Targets, Work, check, train_in_turn
from inlay.adapters import Adapter, Backbone, LanguageModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.core.batch import Batch
from inlay.adapters.encoders import EvaEncoder
from inlay.adapters.inputs import QFormerConfig
from inlay.adapters.inputs.qformer import QFormer
from inlay.adapters.language.freeze import freeze
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.precision import halve
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["CURVE", "Config", "Sides", "Sizes", "build", "measure"]

RATE = 1e-4
PROCESSOR = SimpleNamespace(image_mean=[0.48, 0.46, 0.41], image_std=[0.27, 0.26, 0.28])
IMAGE_ID = 5
"""The placeholder of picture positions in their input; no token of the batch has this id."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the three models; the defaults give 110 million parameters."""

    vision: int = 384
    vision_layers: int = 12
    vision_heads: int = 6
    vision_ffn: int = 1536
    pixels: int = 224
    hidden: int = 256
    """Width of the Q-Former."""
    layers: int = 6
    """Layers of the Q-Former."""
    heads: int = 4
    queries: int = 32
    width: int = 512
    """Width of OPT."""
    llm_layers: int = 8
    llm_heads: int = 8
    vocabulary: int = 50272


CURVE = Sizes(
    vision=64, vision_layers=2, vision_heads=2, vision_ffn=128, pixels=56, hidden=64, layers=2, heads=2, queries=8,
    width=64, llm_layers=2, llm_heads=2, vocabulary=400,
)  # fmt: skip
"""Sizes of the models for the loss curves."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one measure."""

    title: str
    sizes: Sizes
    words: tuple[int, ...] = (14, 8, 13, 9)
    """Tokens of each caption, in random order; all tokens but the first are labelled."""
    per_batch: int = 2
    targets: Targets = field(default_factory=Targets)


@dataclass(frozen=True)
class Sides:
    """Our side and theirs, with the same weights."""

    model: Any
    theirs: Any
    setting: Setting
    sizes: Sizes
    pixels: Tensor
    features: Tensor
    words: Sequence[int]

    def trained(self) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
        """Trained parameters of our side and of theirs, under common names."""
        projector = self.model.adapter.inputs["image"]
        groups = {
            "norm": (projector.qformer.ln_vision, self.theirs.vision_model.post_layernorm),
            "qformer": (projector.qformer.model, self.theirs.qformer),
            "projection": (projector.projection, self.theirs.language_projection),
        }
        found: tuple[dict[str, nn.Parameter], ...] = tuple(
            {f"{name}.{key}": p for name, pair in groups.items() for key, p in pair[side].named_parameters()}
            for side in (0, 1)
        )
        ours, theirs = found
        ours["queries"], theirs["queries"] = projector.qformer.query_tokens, self.theirs.query_tokens
        return ours, theirs

    def batch(self, rows: Sequence[int]) -> Batch:
        """A batch of some rows: queries, then ``</s>`` and a caption."""
        words = self.words
        longest, count = max(words[row] for row in rows), self.sizes.queries
        generator = torch.Generator().manual_seed(1 + sum(rows))
        ids = torch.randint(10, self.sizes.vocabulary - 10, (len(rows), count + longest), generator=generator)
        place = torch.arange(count + longest).expand_as(ids)
        ends = torch.tensor([count + words[row] for row in rows])[:, None]
        mask, slots = (place < ends).long(), place < count
        ids = ids.masked_fill(slots | (mask == 0), 1)
        ids[:, count] = 2
        batch = Batch(
            ids=ids,
            labels=ids.masked_fill((place <= count) | (mask == 0), IGNORE),
            mask=mask,
            slots=slots,
            order=_images(len(rows)),
            features={"image": self.features[list(rows)]},
        )
        return batch.to(self.setting.device)

    def inputs(self, batch: Batch, rows: Sequence[int]) -> dict[str, Tensor]:
        """A batch as arguments of transformers' model."""
        return {
            "input_ids": batch.ids.masked_fill(batch.slots, IMAGE_ID),
            "attention_mask": batch.mask,
            "labels": batch.labels,
            "pixel_values": self.pixels[list(rows)],
        }

    def fit_ours(self, batches: Sequence[Any], bf16: bool) -> tuple[Spent, list[float]]:
        """Train our stage on batches; the time, and the loss of each step."""
        stage = Stage(
            data="align", template="blip2", geometry="squash", prompt="", lr={"inputs.image": RATE}, batch_size=1
        )
        module = NextTokenModule(self.model, stage, len(batches))
        return fit_ours(module, batches, precision=self.setting.precision(bf16), device=self.setting.device)

    def fit_theirs(self, batches: Sequence[Any], bf16: bool, checkpointing: bool = False) -> tuple[Spent, list[float]]:
        """Train with their trainer on batches; the time, and the loss of each step."""
        optimizer = partial(optimizer_like_ours, list(self.trained()[1].values()), len(batches), RATE)
        own: dict[str, Any] = {"device": self.setting.device, "bf16": bf16, "checkpointing": checkpointing}
        return fit_theirs(self.theirs, batches, optimizer=optimizer, **own)

    def first(self, bf16: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss and gradients of one step on all pictures, of our side and of theirs."""
        rows, device = tuple(range(len(self.words))), self.setting.device
        batch = self.batch(rows)
        self.model.adapter.train()
        self.theirs.train()

        def ours() -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss: Tensor = self.model(batch, logits="none").loss
            return loss

        def theirs() -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss: Tensor = self.theirs(**self.inputs(batch, rows)).loss
            return loss

        own, other = self.trained()
        return train_step(ours, own), train_step(theirs, other)


def build(sizes: Sizes, words: Sequence[int], setting: Setting, bf16: bool) -> Sides:
    """Build both sides with the same weights, and a picture of noise for each caption."""
    torch.manual_seed(0)
    gpu = setting.device.type == "cuda" and bf16
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if gpu else torch.float32)
    try:
        with torch.device(setting.device):
            theirs: Any = freeze(Blip2ForConditionalGeneration(_config(sizes)))
            pixels = torch.randn(len(words), 3, sizes.pixels, sizes.pixels)
    finally:
        torch.set_default_dtype(before)
    theirs.config.text_config.use_cache = False
    nn.init.normal_(theirs.query_tokens, std=0.02)
    for part in (theirs.vision_model.post_layernorm, theirs.qformer, theirs.language_projection):
        part.float().requires_grad_(True)
    theirs.query_tokens.data = theirs.query_tokens.data.float()
    theirs.query_tokens.requires_grad_(True)
    language = LanguageModel(copy.deepcopy(theirs.language_model), miniature_backbone().llm.tokenizer)
    # Only the module is copied; the tower's frozen tensors are shared.
    vision = EvaEncoder(copy.copy(theirs.vision_model), PROCESSOR)
    theirs.vision_model.post_layernorm.requires_grad_(True)
    backbone = Backbone(language, {"image": vision})
    fields = {"queries": sizes.queries, "hidden": sizes.hidden, "layers": sizes.layers, "heads": sizes.heads}
    adapter = Adapter.for_backbone(
        backbone,
        system="blip2",
        name="benchmark",
        layout=Layout.published("blip2", geometry={"image": "squash"}),
        inputs={"image": QFormerConfig(**fields, ffn=4 * sizes.hidden, dropout=0.0)},
    )
    projector: Any = adapter.inputs["image"]
    projector.qformer = QFormer.from_blip2(theirs)
    projector.projection.load_state_dict(theirs.language_projection.state_dict())
    adapter.to(setting.device)
    model = adapter.attach(backbone)
    features = vision.encode(pixels)
    if bf16:
        halve(language.model)
        features = features.bfloat16()
    return Sides(model, theirs, setting, sizes, pixels, features, words)


def small(setting: Setting, bf16: bool) -> Small:
    """Build the narrow model for the checks."""
    sides, groups = build(CURVE, (7, 6, 5, 4), setting, bf16), [(0, 1), (2, 3)] * (setting.curve_steps // 2)
    batches = [sides.batch(rows) for rows in groups]
    return Small(sides, batches, [sides.inputs(batch, rows) for batch, rows in zip(batches, groups, strict=True)])


def measure(setting: Setting, config: Config) -> Outcome:
    """Check that both sides do the same work, then compare their samples per second."""
    words, sizes = config.words, config.sizes
    sides = build(sizes, words, setting, setting.bf16)
    checks = check(setting, partial(small, setting), sides)
    plain = list(range(len(words)))
    order = sorted(plain, key=lambda row: words[row])
    plain_groups, groups = (
        [tuple(rows[start : start + config.per_batch]) for start in range(0, len(rows), config.per_batch)]
        for rows in (plain, order)
    )
    ours = [sides.batch(rows) for rows in groups]
    llm = sides.model.backbone.llm.model
    trained = sum(p.numel() for p in sides.model.adapter.parameters())
    work = Work(
        title=config.title,
        samples=len(words),
        flops=necessary(
            blocks=llm_blocks(llm),
            head=head_size(llm),
            width=sizes.width,
            layers=sizes.llm_layers,
            lengths=[sizes.queries + count for count in words],
            labelled=[count - 1 for count in words],
            adapters=[(trained, len(words) * sizes.queries)],
        ),
        ours=ours,
        tuned=[sides.inputs(batch, rows) for batch, rows in zip(ours, groups, strict=True)],
        documented=[sides.inputs(sides.batch(rows), rows) for rows in plain_groups],
        targets=config.targets,
        facts={
            "trains": "Q-Former, queries, ln_vision, linear layer",
            "parameters": sum(p.numel() for p in sides.theirs.parameters()),
            "words": list(words),
            "dropout": "off on both sides, so that they can be compared",
            "encoder": "in their loop; ours reads cached features",
        },
    )
    return train_in_turn(setting, sides, work, checks)


def _images(count: int) -> tuple[Literal["image"], ...]:
    return tuple("image" for _ in range(count))


def _config(sizes: Sizes) -> Blip2Config:
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return Blip2Config(
        vision_config={
            "hidden_size": sizes.vision,
            "intermediate_size": sizes.vision_ffn,
            "num_hidden_layers": sizes.vision_layers,
            "num_attention_heads": sizes.vision_heads,
            "image_size": sizes.pixels,
            "patch_size": 14,
        },
        qformer_config={
            "hidden_size": sizes.hidden,
            "intermediate_size": 4 * sizes.hidden,
            "num_hidden_layers": sizes.layers,
            "num_attention_heads": sizes.heads,
            "encoder_hidden_size": sizes.vision,
            "cross_attention_frequency": 2,
            **none,
        },
        text_config={
            "model_type": "opt",
            "hidden_size": sizes.width,
            "word_embed_proj_dim": sizes.width,
            "ffn_dim": 4 * sizes.width,
            "num_hidden_layers": sizes.llm_layers,
            "num_attention_heads": sizes.llm_heads,
            "vocab_size": sizes.vocabulary,
            "dropout": 0.0,
        },
        num_query_tokens=sizes.queries,
        image_token_index=IMAGE_ID,
    )
