"""Training a LLaVA: our stage in Lightning's loop, against ``LlavaForConditionalGeneration`` with peft in ``Trainer``.

Their encoder is in the loop, since their class takes in pixels; ours reads frozen features that were computed once, as
`inlay train` does after the first look at a picture. Both sides get batches that are collated already, and the same
optimizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import CLIPImageProcessorPil

from benchmarks.equal import curve_gap, first_step, train_step
from benchmarks.hf_loop import fit_theirs
from benchmarks.lightning_loop import fit_ours
from benchmarks.llava_120m import Made, Peers, Sizes, Trains, make, names_of, rows_of
from benchmarks.machine import gemm_rates
from benchmarks.necessary import head_size, llm_blocks, necessary, utilisation
from benchmarks.outcome import Checks, Comparison, Outcome
from benchmarks.setting import CURVE_STEPS, Setting
from benchmarks.timing import Spent, Times, in_turn
from inlay.adapters import Adapter, Backbone, ClipEncoder, LanguageModel, LoraConfig
from inlay.adapters.half import halve
from inlay.adapters.layout import Layout
from inlay.recipes.backbones import miniature_backbone
from inlay.recipes.recipe import Stage
from inlay.recipes.stages.next_token import NextToken
from inlay.recipes.stages.schedule import warmup_cosine

__all__ = ["CURVE_SIZES", "Config", "Sides", "build", "measure"]

RATE = 2e-4
CURVE_SIZES = Sizes(width=128, vision=64, layers=2, vocabulary=512)
"""Of the model that the loss curves are taken on: the same code in seconds."""
CURVE_LENGTHS, CURVE_LABELLED = (97, 90, 80, 70), (12, 10, 8, 6)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One measure."""

    title: str
    sizes: Sizes
    trains: Trains
    lengths: tuple[int, ...]
    """Tokens of each conversation, a picture's included, longest first."""
    labelled: tuple[int, ...]
    """Labelled tokens of each."""
    sorted_batches: tuple[tuple[int, ...], ...]
    """Conversations of like length together: the tuned opponent's batches and ours."""
    random_batches: tuple[tuple[int, ...], ...]
    """The same conversations as they might come."""
    documented: float | None = None
    """Target against the documented opponent."""
    tuned: float | None = None
    """Target against the tuned one."""
    utilisation: float | None = None
    """Share of the bfloat16 matrix rate that ours should come to."""
    checkpointing: bool = False
    """Whether the documented opponent's script has it."""


@dataclass(frozen=True)
class Sides:
    """Both sides on one model."""

    made: Made
    adapter: Adapter
    model: Any
    theirs: Peers
    setting: Setting

    @property
    def stage(self) -> Stage:
        """What trains, and how: the optimizer of both sides."""
        parts = {"inputs.image": RATE} | ({"lora": RATE} if self.adapter.lora is not None else {})
        return Stage(data="train", template="vicuna_v1", geometry="pad", lr=parts, batch_size=1)

    def fit_ours(self, batches: Sequence[Any], bf16: bool) -> tuple[Spent, list[float]]:
        """Our stage over batches."""
        module = NextToken(self.model, self.stage, len(batches))
        precision = self.setting.precision(bf16)
        return fit_ours(module, batches, precision=precision, device=self.setting.device)

    def fit_theirs(self, batches: Sequence[Any], bf16: bool, checkpointing: bool) -> tuple[Spent, list[float]]:
        """Their trainer over batches."""
        return fit_theirs(
            self.theirs.net,
            batches,
            optimizer=partial(_optimizer, list(self.theirs.trained().values()), len(batches)),
            device=self.setting.device,
            bf16=bf16,
            checkpointing=checkpointing,
        )

    def first(self, bf16: bool) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Loss and gradients of one step of both."""
        device, whole = self.setting.device, self.made.batch
        self.adapter.to(device).train()
        self.theirs.net.train()

        def ours() -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = self.model(whole, logits="none").loss
            assert loss is not None  # noqa: S101  # the batch has labels
            return loss

        def theirs() -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                return self.theirs(whole)

        own = names_of(self.adapter.inputs["image"], self.adapter.lora)
        return train_step(ours, own), train_step(theirs, self.theirs.trained())


def build(sizes: Sizes, trains: Trains, lengths: Sequence[int], labelled: Sequence[int], setting: Setting) -> Sides:
    """Both sides with the same numbers.

    On a GPU the frozen models are in bfloat16 on both sides, as LLaVA's own script has them. On a CPU theirs stay in
    float32, which autocast rounds in every step; ours are rounded once where bfloat16 pays.
    """
    dtype = torch.bfloat16 if setting.device.type == "cuda" else torch.float32
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
        inputs={"image": ("mlp", {})},
        lora=LoraConfig(r=sizes.rank, alpha=32.0) if trains == "lora" else None,
    )
    torch.manual_seed(1)
    for target in adapter.lora.targets if adapter.lora is not None else ():
        torch.nn.init.normal_(adapter.lora.matrices(target)[1], std=0.02)  # type: ignore[union-attr]
    made = replace(made, projector=adapter.inputs["image"])
    theirs = Peers(made, adapter.lora)
    if setting.device.type == "cuda":
        for parameter in theirs.trained().values():
            parameter.data = parameter.data.float()
    model = adapter.attach(backbone)
    if setting.bf16:
        # Their copy keeps its numbers: only ours are given other ones.
        halve(made.llm)
        features = made.batch.features["image"].bfloat16()
        made = replace(made, batch=replace(made.batch, features={"image": features}))
    return Sides(made, adapter, model, theirs, setting)


def measure(setting: Setting, config: Config) -> Outcome:
    """Samples a second of both, in turn, with the checks in front."""
    bf16, repetitions = setting.bf16, 1 if setting.tiny else setting.rounds
    curve = curves(setting, config.trains, bf16)
    sides = build(config.sizes, config.trains, config.lengths, config.labelled, setting)
    checks = first_step(
        *sides.first(bf16),
        precision=setting.precision(bf16),
        curve=curve,
        curve_note=f"{CURVE_STEPS} steps of a LLaVA {CURVE_SIZES.width} x {CURVE_SIZES.layers}, by the same code",
    )
    own = [rows_of(sides.made, rows)[0] for rows in config.sorted_batches]
    documented, tuned = (
        [sides.theirs.inputs(*rows_of(sides.made, rows)) for rows in batches]
        for batches in (config.random_batches, config.sorted_batches)
    )
    on_gpu = setting.device.type == "cuda"
    runs = [
        lambda: sides.fit_theirs(documented, on_gpu, config.checkpointing)[0],
        lambda: sides.fit_theirs(tuned, bf16, False)[0],
        lambda: sides.fit_ours(own, bf16)[0],
    ]
    if on_gpu:
        for run in runs:
            run()
    slow, quick, ours = in_turn(runs, repetitions, setting.device)
    return _outcome(setting, config, sides, checks, (slow, quick, ours))


def curves(setting: Setting, trains: Trains, bf16: bool) -> float:
    """How far the losses of fifty steps lie apart, on a narrow model."""
    sides = build(CURVE_SIZES, trains, CURVE_LENGTHS, CURVE_LABELLED, setting)
    groups = [(0, 1), (2, 3)] * (CURVE_STEPS // 2)
    pairs = [rows_of(sides.made, rows) for rows in groups]
    _, ours = sides.fit_ours([batch for batch, _ in pairs], bf16)
    _, theirs = sides.fit_theirs([sides.theirs.inputs(*pair) for pair in pairs], bf16, False)
    return curve_gap(ours, theirs)


def flops(config: Config, sides: Sides) -> int:
    """Necessary ones of all conversations."""
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


def _outcome(
    setting: Setting, config: Config, sides: Sides, checks: Checks, times: tuple[Times, Times, Times]
) -> Outcome:
    needed, rates = flops(config, sides), gemm_rates(setting.device)

    def more(side: Times) -> dict[str, Any]:
        return {
            "samples_per_second": len(config.lengths) / side.median,
            "utilisation": utilisation(needed, side.median, rates),
        }

    slow, quick, ours = times
    void = bool(checks.fault)
    gpu = setting.device.type == "cuda"
    said = {
        "documented": "bfloat16, batches as they come" if gpu else "float32, batches as they come",
        "tuned": f"{'bfloat16' if setting.bf16 else 'float32: no bfloat16 here'}, batches of like length, sdpa",
    }
    if config.checkpointing:
        said["documented"] += ", gradient checkpointing"
    mine = more(ours)
    comparisons = [
        Comparison.of_times(
            name, f"Trainer, {said[name]}, encoder in the loop", side, ours, target=target, void=void,
            more=(more(side), mine),
        )
        for name, side, target in (
            ("documented", slow, config.documented),
            ("tuned", quick, config.tuned),
        )
    ]
    share = mine["utilisation"].get("bfloat16") or mine["utilisation"]["float32"]
    kind = "bfloat16" if rates["bfloat16"] else "float32"
    comparisons.append(
        Comparison(
            opponent="machine",
            what=f"a matrix product in {kind}, measured in the run",
            ratio=None if void else share,
            target=config.utilisation,
            unit="necessary-FLOP utilisation",
            theirs={"flop_per_second": rates[kind]},
            ours=mine,
            spread=ours.spread,
        )
    )
    return Outcome(
        title=config.title,
        comparisons=comparisons,
        checks=checks,
        facts={
            "unit": "samples/s",
            "trains": config.trains,
            "parameters": sum(p.numel() for p in sides.theirs.net.parameters()),
            "lengths": list(config.lengths),
            "labelled": list(config.labelled),
            "padding": {
                "documented": padding(config.lengths, config.random_batches),
                "tuned and ours": padding(config.lengths, config.sorted_batches),
            },
            "steps_per_repetition": {
                "documented": len(config.random_batches),
                "tuned and ours": len(config.sorted_batches),
            },
            "necessary_tflop": needed / 1e12,
            "gemm_flop_per_second": rates,
            "precision": {"documented": "bf16" if gpu else "fp32", "tuned": checks.precision, "ours": checks.precision},
        },
    )


def optimizer_of(parameters: Sequence[torch.nn.Parameter], steps: int) -> tuple[AdamW, LRScheduler]:
    """What :func:`inlay.recipes.stages.schedule.optimizer_for` makes of our stage, for their parameters."""
    optimizer = AdamW([{"params": list(parameters), "lr": RATE}], betas=(0.9, 0.999), weight_decay=0.0)
    return optimizer, LambdaLR(optimizer, warmup_cosine(steps, max(1, round(steps * 0.03))))


_optimizer = optimizer_of
