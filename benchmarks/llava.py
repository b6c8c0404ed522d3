"""Training a LLaVA: our stage in Lightning's loop, against ``LlavaForConditionalGeneration`` with peft in ``Trainer``.

Their encoder is in the loop, since the input of their class is pixels; ours reads frozen features that were computed
once, as in `inlay train` after the first use of a picture. Both sides get batches that are collated already, and the
same optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from transformers import CLIPImageProcessorPil

from benchmarks.equal import train_step
from benchmarks.hf_loop import fit_theirs, optimizer_like_ours
from benchmarks.lightning_loop import fit_ours
from benchmarks.llava_120m import Made, Peers, Sizes, Trains, make, names_of, rows_of
from benchmarks.necessary import head_size, llm_blocks, necessary
from benchmarks.outcome import Outcome
from benchmarks.setting import Setting
from benchmarks.timing import Spent
from benchmarks.training import Small, Targets, Work, check, train_in_turn
from inlay.adapters import Adapter, Backbone, ClipEncoder, LanguageModel, LoraConfig
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.precision import halve
from inlay.recipes.objectives.next_token.module import NextTokenModule
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["CURVE_SIZES", "Config", "Sides", "build", "measure"]

RATE = 2e-4
CURVE_SIZES = Sizes(width=128, vision=64, layers=2, vocabulary=512)
"""Sizes of the model for the loss curves."""
CURVE_LENGTHS, CURVE_LABELLED = (97, 90, 80, 70), (12, 10, 8, 6)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one measure."""

    title: str
    sizes: Sizes
    trains: Trains
    lengths: tuple[int, ...]
    """Tokens of each conversation, picture positions included, longest first."""
    labelled: tuple[int, ...]
    """Labelled tokens of each conversation."""
    sorted_batches: tuple[tuple[int, ...], ...]
    """Batches of conversations of similar length, for the tuned opponent and for ours."""
    random_batches: tuple[tuple[int, ...], ...]
    """Batches of the same conversations in random order, for the documented opponent."""
    targets: Targets
    checkpointing: bool = False
    """Whether the documented opponent's script uses gradient checkpointing."""


@dataclass(frozen=True)
class Sides:
    """Our side and theirs, with the same weights."""

    made: Made
    adapter: Adapter
    model: Any
    theirs: Peers
    setting: Setting
    rows: tuple[int, ...] = (0, 1)
    """Rows of the batch of the first step."""

    @property
    def stage(self) -> Stage:
        """Trained parts and learning rates of both sides."""
        parts = {"inputs.image": RATE} | ({"lora": RATE} if self.adapter.lora is not None else {})
        return Stage(data="train", template="vicuna_v1", geometry="pad", lr=parts, batch_size=1)

    def fit_ours(self, batches: Sequence[Any], bf16: bool) -> tuple[Spent, list[float]]:
        """Train our stage on batches; the time, and the loss of each step."""
        module = NextTokenModule(self.model, self.stage, len(batches))
        precision = self.setting.precision(bf16)
        return fit_ours(module, batches, precision=precision, device=self.setting.device)

    def fit_theirs(self, batches: Sequence[Any], bf16: bool, checkpointing: bool = False) -> tuple[Spent, list[float]]:
        """Train with their trainer on batches; the time, and the loss of each step."""
        return fit_theirs(
            self.theirs.net,
            batches,
            optimizer=partial(optimizer_like_ours, list(self.theirs.trained().values()), len(batches), RATE),
            device=self.setting.device,
            bf16=bf16,
            checkpointing=checkpointing,
        )

    def first(self, bf16: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Loss and gradients of one step, of our side and of theirs."""
        device, (batch, pixels) = self.setting.device, rows_of(self.made, self.rows)
        self.adapter.to(device).train()
        self.theirs.net.train()

        def ours() -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss: torch.Tensor = self.model(batch, logits="none").loss
            return loss

        def theirs() -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss: torch.Tensor = self.theirs.net(**self.theirs.inputs(batch, pixels)).loss
            return loss

        own = names_of(self.adapter.inputs["image"], self.adapter.lora)
        return train_step(ours, own), train_step(theirs, self.theirs.trained())


def build(
    sizes: Sizes, trains: Trains, lengths: Sequence[int], labelled: Sequence[int], setting: Setting, bf16: bool
) -> Sides:
    """Build both sides with the same weights.

    On a GPU the frozen models are in bfloat16 on both sides, as in LLaVA's own script. On a CPU theirs stay in float32,
    and autocast casts them in every step; ours are cast once if bfloat16 is faster.
    """
    gpu = setting.device.type == "cuda"
    dtype = torch.bfloat16 if gpu and bf16 else torch.float32
    made = make(sizes, lengths, labelled, device=setting.device, dtype=dtype)
    side: Any = sizes.pixels
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    language = LanguageModel(made.llm, miniature_backbone().llm.tokenizer)
    backbone = Backbone(language, {"image": ClipEncoder(made.vision, processor)})
    adapter = Adapter.for_backbone(
        backbone,
        system="llava",
        name="benchmark",
        layout=Layout(template="vicuna_v1"),
        inputs={"image": MlpConfig()},
        lora=LoraConfig(r=sizes.rank, alpha=32.0) if trains == "lora" else None,
    )
    if adapter.lora is not None:
        torch.manual_seed(1)
        for target in adapter.lora.targets:
            torch.nn.init.normal_(adapter.lora.matrices(target)[1], std=0.02)
    adapter.to(setting.device)
    made = replace(made, projector=adapter.inputs["image"])
    theirs = Peers(made, adapter.lora)
    for parameter in theirs.trained().values():
        parameter.data = parameter.data.float()
    model = adapter.attach(backbone)
    if bf16:
        # Their frozen weights are new parameter objects over the same memory.
        halve(made.llm)
        features = made.batch.features["image"].bfloat16()
        made = replace(made, batch=replace(made.batch, features={"image": features}))
    return Sides(made, adapter, model, theirs, setting)


def small(trains: Trains, setting: Setting, bf16: bool) -> Small:
    """Build the narrow model for the checks."""
    sides = build(CURVE_SIZES, trains, CURVE_LENGTHS, CURVE_LABELLED, setting, bf16)
    pairs = [rows_of(sides.made, rows) for rows in [(0, 1), (2, 3)] * (setting.curve_steps // 2)]
    return Small(sides, [batch for batch, _ in pairs], [sides.theirs.inputs(*pair) for pair in pairs])


def measure(setting: Setting, config: Config) -> Outcome:
    """Check that both sides do the same work, then compare their samples per second."""
    sides = build(config.sizes, config.trains, config.lengths, config.labelled, setting, setting.bf16)
    sides = replace(sides, rows=config.sorted_batches[0])
    checks = check(setting, partial(small, config.trains, setting), sides)
    documented, tuned = (
        [sides.theirs.inputs(*rows_of(sides.made, rows)) for rows in batches]
        for batches in (config.random_batches, config.sorted_batches)
    )
    work = Work(
        title=config.title,
        samples=len(config.lengths),
        flops=flops(config, sides),
        ours=[rows_of(sides.made, rows)[0] for rows in config.sorted_batches],
        tuned=tuned,
        documented=documented,
        checkpointing=config.checkpointing,
        targets=config.targets,
        facts={
            "trains": config.trains,
            "parameters": sum(p.numel() for p in sides.theirs.net.parameters()),
            "lengths": list(config.lengths),
            "labelled": list(config.labelled),
            "padding": {
                "documented": padding(config.lengths, config.random_batches),
                "tuned and ours": padding(config.lengths, config.sorted_batches),
            },
            "encoder": "in their loop; ours reads cached features",
        },
    )
    return train_in_turn(setting, sides, work, checks)


def flops(config: Config, sides: Sides) -> int:
    """Necessary FLOPs of all conversations."""
    sizes, lora = config.sizes, sides.adapter.lora
    adapters = [(sum(p.numel() for p in sides.made.projector.parameters()), len(config.lengths) * sizes.patches)]
    if lora is not None:
        adapters.append((sum(p.numel() for p in lora.parameters()), sum(config.lengths)))
    llm = sides.made.llm
    return necessary(
        blocks=llm_blocks(llm),
        head=head_size(llm),
        width=sizes.width,
        layers=sizes.layers,
        lengths=config.lengths,
        labelled=config.labelled,
        adapters=adapters,
    )


def padding(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Share of padded positions.

    Example:
        >>> padding((4, 2), ((0, 1),))
        0.25
    """
    padded = sum(max(lengths[row] for row in rows) * len(rows) for rows in batches)
    return 1 - sum(lengths[row] for rows in batches for row in rows) / padded
