"""Decoding-side alignment after the first epoch: our states of signal tokens are cached, theirs are recomputed.

Their side is the loop of NExT-GPT's released code: the frozen LLM reads every caption in every epoch, with logits at
all positions and a cross-entropy without effect on trained parameters (*documented*), or at best without those and
under ``no_grad`` (*tuned*). Ours is the stage on cached states. Both have the same output projector, optimizer and
targets.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.equal import train_step
from benchmarks.hf_loop import optimizer_like_ours
from benchmarks.lightning_loop import fit_ours
from benchmarks.outcome import Outcome
from benchmarks.setting import Setting
from benchmarks.timing import Clock, Spent
from benchmarks.training import Small, Targets, Work, check, train_in_turn
from inlay.adapters import Adapter, Backbone, LanguageModel
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, Message, TextPart
from inlay.adapters.core.batch import Batch
from inlay.adapters.generators import StableDiffusion
from inlay.adapters.language.precision import halve
from inlay.adapters.llm_parts.signal_tokens import gather, locate
from inlay.adapters.llm_parts.token_rows import TokensConfig
from inlay.adapters.outputs import TransformerOutputConfig
from inlay.adapters.outputs.losses import per_token_l2
from inlay.recipes.data.cache.states import StateBatch, collate_states, collect_states
from inlay.recipes.data.rows.sample import Sample
from inlay.recipes.objectives.signals.module import SignalStatesModule
from inlay.recipes.objectives.signals.settings import Signals
from inlay.recipes.objectives.signals.targets import Targets as Conditionings
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["CURVE", "Config", "Sides", "Sizes", "build", "measure"]

RATE = 4e-4
SIGNALS, TOKENS = 4, 77


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of LLM and output projector; the default widths are an eighth of NExT-GPT 7B's in both."""

    width: int = 512
    layers: int = 12
    ffn: int = 1376
    heads: int = 8
    vocabulary: int = 32000
    hidden: int = 64
    """Width of the output projector, 512 in NExT-GPT."""
    hidden_layers: int = 4
    """Layers of its encoder, and of its decoder."""
    conditioning: int = 768
    """Values of each of the 77 vectors."""


CURVE = Sizes(width=64, layers=2, ffn=96, heads=2, vocabulary=0, hidden=32, hidden_layers=1, conditioning=32)
"""Sizes of the models for the loss curves; a vocabulary of 0 means that of the tokenizer."""
WORDS = ("a large red circle left of two small blue stars", "three green squares", "a yellow star above a grey circle")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one measure."""

    title: str
    sizes: Sizes
    captions: int = 64
    per_batch: int = 32
    targets: Targets = field(default_factory=Targets)


@dataclass(frozen=True)
class Sides:
    """Our side and theirs, on one LLM."""

    model: Any
    projector: nn.Module
    """Their output projector, a copy of ours."""
    setting: Setting
    kept: Conditionings
    batches: Sequence[Batch]
    """Captions and signal tokens as ids, of similar length."""
    states: Sequence[StateBatch]
    """States of the signal tokens in these captions, computed once."""
    first_epoch: float
    """Seconds to compute them."""

    @property
    def stage(self) -> Stage:
        """Only output projectors train."""
        return _stage()

    def fit_ours(self, batches: Sequence[Any], bf16: bool) -> tuple[Spent, list[float]]:
        """Train our stage on states; the time, and the loss of each step."""
        module = SignalStatesModule(self.model.adapter, self.kept, Signals(lm=0.0), self.stage, len(batches))
        return fit_ours(module, batches, precision=self.setting.precision(bf16), device=self.setting.device)

    def fit_theirs(self, batches: Sequence[Any], bf16: bool, checkpointing: bool = False) -> tuple[Spent, list[float]]:
        """Their loop over captions; each batch determines whether the whole cross-entropy is computed."""
        optimizer, schedule = optimizer_like_ours(list(self.projector.parameters()), len(batches), RATE)
        losses, clock = [], Clock(self.setting.device)
        clock.start()
        for batch, whole in batches:
            loss = self.their_loss(batch, whole, bf16)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.projector.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return clock.read(), [float(loss) for loss in losses]

    def their_loss(self, batch: Batch, whole: bool, bf16: bool) -> Tensor:
        """Their loss of one batch of captions."""
        llm, (signals,) = self.model.backbone.llm, self.model.adapter.signals.ids.values()
        with torch.autocast(self.setting.device.type, torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                embeddings = llm.embed(batch.ids)
                given = {"inputs_embeds": embeddings, "attention_mask": batch.mask, "use_cache": False}
                if whole:
                    said = llm.model(**given, output_hidden_states=True)
                    F.cross_entropy(said.logits[:, :-1].flatten(0, 1).float(), batch.labels[:, 1:].flatten())
                    hidden = said.hidden_states[-1]
                else:
                    hidden = llm.model.base_model(**given).last_hidden_state
            places = locate(batch.ids, signals)
            seen = gather(hidden + embeddings, places, len(signals))
            conditioning = self.projector(seen.to(next(self.projector.parameters()).dtype)).float()
            return per_token_l2(conditioning, self.kept.of("image", batch.made).to(conditioning.device))

    def first(self, bf16: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss and gradients of one step, of our side and of theirs."""
        adapter = self.model.adapter
        states, batch = self.states[0], self.batches[0]
        adapter.outputs["image"].requires_grad_(True).train()

        def ours() -> Tensor:
            with torch.autocast(self.setting.device.type, torch.bfloat16, enabled=bf16):
                conditioning = adapter.condition("image", states.states["image"]).float()
            return per_token_l2(conditioning, self.kept.of("image", states.made).to(conditioning.device))

        own, other = (dict(module.named_parameters()) for module in (adapter.outputs["image"], self.projector))
        return train_step(ours, own), train_step(partial(self.their_loss, batch, False, bf16), other)


def build(sizes: Sizes, count: int, per_batch: int, setting: Setting, bf16: bool) -> Sides:
    """Build both sides with the same weights."""
    torch.manual_seed(0)
    tokenizer = copy.deepcopy(miniature_backbone().llm.tokenizer)
    config = LlamaConfig(
        vocab_size=sizes.vocabulary or len(tokenizer),
        hidden_size=sizes.width,
        intermediate_size=sizes.ffn,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        tie_word_embeddings=False,
        initializer_range=0.02,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if setting.device.type == "cuda" and bf16 else torch.float32)
    try:
        with torch.device(setting.device):
            llm = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    if bf16:
        halve(llm.requires_grad_(False))
    language = LanguageModel(llm, tokenizer)
    backbone = Backbone(language, generators={"image": _generator(sizes)})
    adapter = Adapter.for_backbone(
        backbone,
        system="nextgpt",
        name="benchmark",
        layout=Layout(template="vicuna_v1"),
        inputs={},
        outputs={"image": TransformerOutputConfig(**_projector(sizes))},
        tokens=TokensConfig.numbered(sizes.width, image=SIGNALS),
    )
    adapter.to(setting.device)
    model = adapter.attach(backbone)
    samples = [_sample(number) for number in range(count)]
    kept = Conditionings(backbone)
    for sample in samples:
        part = sample.messages[-1].content[-1]
        assert isinstance(part, MadePart)  # noqa: S101  # as _sample made it
        kept.held["image", part.caption] = torch.randn(TOKENS, sizes.conditioning)
    stage = _stage()
    encoded = [model.encode(sample.messages, layout=stage.layout, name=sample.id) for sample in samples]
    order = sorted(range(count), key=lambda row: len(encoded[row].ids))
    groups = [order[start : start + per_batch] for start in range(0, count, per_batch)]
    batches = [model.collate([encoded[row] for row in rows], layout=stage.layout) for rows in groups]
    clock = Clock(setting.device)
    rows = collect_states(model, samples, stage.layout)
    spent = clock.read().wall
    states = [collate_states([rows[row] for row in group]) for group in groups]
    return Sides(
        model=model,
        projector=copy.deepcopy(adapter.outputs["image"]).to(setting.device),
        setting=setting,
        kept=kept,
        batches=[batch.to(setting.device) for batch in batches],
        states=[state.to(setting.device) for state in states],
        first_epoch=spent,
    )


def small(setting: Setting, bf16: bool) -> Small:
    """Build the narrow model for the checks."""
    sides = build(CURVE, 4, 2, setting, bf16)
    turns = setting.curve_steps // 2
    return Small(sides, list(sides.states) * turns, [(batch, True) for batch in sides.batches] * turns)


def measure(setting: Setting, config: Config) -> Outcome:
    """Check that both sides do the same work, then compare their conversations per second."""
    bf16 = setting.bf16
    sides = build(config.sizes, config.captions, config.per_batch, setting, bf16)
    checks = check(setting, partial(small, setting), sides)
    trained = sum(p.numel() for p in sides.projector.parameters())
    # Its encoder reads the signal tokens, its decoder and last layer 77 queries: parameters of each, times the vectors
    # # through them.
    network: Any = sides.projector
    behind = (network.transformer.decoder, network.project_out)
    decoder = sum(p.numel() for part in behind for p in part.parameters())
    through = (trained - decoder) * SIGNALS + decoder * TOKENS
    lengths = [int(row.sum()) for batch in sides.batches for row in batch.mask]
    work = Work(
        title=config.title,
        samples=config.captions,
        flops=6 * through * config.captions,
        ours=sides.states,
        tuned=[(batch, False) for batch in sides.batches],
        documented=[(batch, True) for batch in sides.batches],
        targets=config.targets,
        facts={
            "trains": "the output projector, 4 to 77",
            "parameters": sum(p.numel() for p in sides.model.backbone.llm.parameters()),
            "projector_parameters": trained,
            "lengths": lengths,
            "first_epoch_seconds": sides.first_epoch,
            "bytes_per_sample": SIGNALS * config.sizes.width * sides.states[0].states["image"].element_size(),
            "documented": "scores at all positions and their cross-entropy, in every epoch, as the released code",
            "tuned": "last states alone, under no_grad, batches of like length",
        },
    )
    outcome = train_in_turn(setting, sides, work, checks)
    said = {"documented": "its loop in plain torch, cross-entropy at all positions", "tuned": "last states alone"}
    return replace(
        outcome,
        comparisons=[
            replace(comparison, what=f"{said[comparison.opponent]}, {checks.precision}")
            for comparison in outcome.comparisons
            if comparison.opponent in said
        ],
    )


def _stage() -> Stage:
    return Stage(
        data="align",
        template="vicuna_v1",
        geometry="squash",
        lr={"outputs": RATE},
        batch_size=1,
        objective=Signals(lm=0.0),
    )


def _projector(sizes: Sizes) -> dict[str, int]:
    layers = {"encoder_layers": sizes.hidden_layers, "decoder_layers": sizes.hidden_layers}
    return {"hidden": sizes.hidden, "heads": 4, "ffn": 4 * sizes.hidden, **layers}


def _sample(number: int) -> Sample:
    caption = f"{WORDS[number % len(WORDS)]}, number {number}"
    messages = (
        Message("user", (TextPart(f"Draw {caption}."),)),
        Message("assistant", (TextPart("Here it is: "), MadePart("image", caption))),
    )
    return Sample(id=f"caption {number}", messages=messages, origin=f"caption {number}")


def _generator(sizes: Sizes) -> StableDiffusion:
    """A generator port of the right width, without a generator."""
    blocks = ("CrossAttnDownBlock2D",), ("CrossAttnUpBlock2D",)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=blocks[0],
        up_block_types=blocks[1],
        layers_per_block=1,
        cross_attention_dim=sizes.conditioning,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, sample_size=8)
    return StableDiffusion(unet, vae, DDIMScheduler(), tokens=TOKENS)
