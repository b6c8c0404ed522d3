"""Preference tuning of a LLaVA: our stage, which computes the prompt of a pair once, against TRL's ``DPOTrainer``.

The input of TRL's classes is pixels, so their encoder is in the loop, twice per pair and twice per step; ours reads
frozen features that were computed once, and a further comparison has our encoder in the loop too. TRL's reference is
the model with its adapters disabled. TRL does not support stored reference log-probabilities for data with pictures
(``precompute_ref_log_probs``), and its ``padding_free`` is disabled in 1.16, so neither can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.child import in_child
from benchmarks.equal import train_step
from benchmarks.lightning_loop import fit_ours
from benchmarks.llava_120m import IMAGE_ID, Made, Sizes, make, names_of
from benchmarks.outcome import Comparison, Outcome
from benchmarks.peak import peak_bytes, reset_peak
from benchmarks.setting import Setting
from benchmarks.timing import Spent, in_turn
from benchmarks.training import Small, check
from benchmarks.trl_loop import BETA, RATE, TrlSide, fit_dpo, trained_of, trl_missing
from inlay.adapters import Adapter, Backbone, ClipEncoder, LanguageModel, LoraConfig
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart
from inlay.adapters.core.batch import Batch, collate
from inlay.adapters.core.branches import join_branches
from inlay.adapters.core.encode import Encoded
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.language.precision import halve
from inlay.recipes.objectives.preference.batch import PairBatch, collate_pairs
from inlay.recipes.objectives.preference.module import PreferenceModule
from inlay.recipes.objectives.preference.pairs import PairRow
from inlay.recipes.objectives.preference.reference import FrozenCopy
from inlay.recipes.objectives.preference.settings import Preference
from inlay.recipes.settings.stage import Stage
from inlay.recipes.systems.load_backbone import miniature_backbone

__all__ = ["CURVE_SIZES", "PAIRS", "Pair", "Sides", "build", "measure", "memory"]

Pair = tuple[int, int, int]
"""Words of the prompt without the picture, tokens of the chosen and of the rejected answer."""
PAIRS: tuple[Pair, ...] = (
    (120, 33, 60), (105, 52, 21), (91, 16, 44), (77, 60, 38), (62, 27, 16), (48, 44, 55), (34, 38, 27), (20, 21, 33),
)  # fmt: skip
"""Pairs of one step, longest prompt first."""
TITLE = "DPO of a LLaVA of 121 M, LoRA and projector"
MICRO = (1, 4)
"""Numbers of micro-batches for TRL, with similar lengths together; the fastest is the opponent."""
CURVE_SIZES = Sizes(width=128, vision=64, layers=2, vocabulary=512)
CURVE_PAIRS: tuple[Pair, ...] = ((30, 8, 15), (26, 13, 5), (23, 4, 11), (19, 15, 9))
CURVE_BATCHES = 8
"""Different batches of the loss curves, used in turn; with a single batch the loss would go to 0."""
Way = Literal["live", "stored", "encoder"]
"""Variants of ours: a live reference, stored log-probabilities, and a live reference with the encoder in the loop."""


@dataclass(frozen=True)
class Sides:
    """Our side and theirs, with the same weights."""

    made: Made
    model: Any
    theirs: TrlSide
    setting: Setting
    reference: FrozenCopy
    pairs: tuple[Pair, ...]

    def restart(self) -> None:
        """Reset our trained parameters to their initial values."""
        own = self.trained()
        for name, value in self.theirs.start.items():
            own[name].data.copy_(value)

    def module(self, steps: int) -> PreferenceModule:
        """Our training module with the initial values."""
        self.restart()
        parts = {"inputs.image": RATE, "lora": RATE}
        stage = Stage(data="train", template="vicuna_v1", geometry="pad", lr=parts, batch_size=1)
        settings = Preference(loss="sigmoid", options={"beta": BETA})
        return PreferenceModule(self.model, stage, steps, settings, self.reference)

    def fit_ours(self, batches: Sequence[Any], bf16: bool) -> tuple[Spent, list[float]]:
        """Train our stage on batches from the initial values; the time, and the loss of each step."""
        module, precision = self.module(len(batches)), self.setting.precision(bf16)
        return fit_ours(module, batches, precision=precision, device=self.setting.device)

    def fit_theirs(self, batches: Sequence[Any], bf16: bool, checkpointing: bool = False) -> tuple[Spent, list[float]]:
        """Train with TRL on optimizer steps, each a list of micro-batches; the time, and the loss of each step."""
        return fit_dpo(self.theirs, [micro for step in batches for micro in step], micro=len(batches[0]))

    def first(self, bf16: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss and gradients of the first step, of our side and of theirs."""
        device, batch, module = self.setting.device, self.ours("live"), self.module(1)

        def loss() -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                return module.terms(batch)["preference"].mean

        ours = train_step(loss, self.trained())
        inputs = self.peers(1)
        with self.theirs.dpo(inputs) as trainer:
            trainer.model.train()

            def theirs_loss() -> Tensor:
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    found: Tensor = trainer.compute_loss(trainer.model, dict(inputs[0]))
                return found

            theirs = train_step(theirs_loss, trained_of(trainer.model))
        return ours, theirs

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Our trained parameters, under names that both sides share."""
        return names_of(self.model.adapter.inputs["image"], self.model.adapter.lora)

    def rows(self, seed: int = 0) -> list[tuple[Encoded, Encoded]]:
        """The chosen and the rejected conversation of each pair; the ids are random."""
        generator = torch.Generator().manual_seed(seed)
        patches, vocabulary = self.made.sizes.patches, self.made.sizes.vocabulary
        found = []
        for number, (words, *answers) in enumerate(self.pairs):
            prompt = torch.randint(10, vocabulary - 10, (1 + patches + words,), generator=generator)
            slots = torch.zeros(len(prompt), dtype=torch.bool)
            slots[1 : 1 + patches] = True
            media = (MediaPart("image", f"{number}.png"),)
            row = []
            for length in answers:
                answer = torch.randint(10, vocabulary - 10, (length,), generator=generator)
                ids = torch.cat([prompt.masked_fill(slots, 2), answer])
                labels = torch.cat([torch.full_like(prompt, IGNORE), answer])
                row.append(Encoded(ids, labels, torch.cat([slots, torch.zeros(length, dtype=torch.bool)]), media))
            found.append((row[0], row[1]))
        return found

    def ours(self, way: Way, seed: int = 0) -> PairBatch:
        """All pairs as our batch."""
        pairs = []
        for rows in self.rows(seed):
            joined = join_branches(rows)
            pairs.append(PairRow(rows if joined is None else (joined,), ("chosen", "rejected")))
        found = collate_pairs(pairs, ("chosen", "rejected"), partial(self._collate, way=way))
        found = found.to(self.setting.device)
        if way != "stored":
            return found
        device = self.setting.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.theirs.bf16):
            return replace(found, reference=self.reference.log_probs(found.batch))

    def _collate(self, rows: Sequence[Encoded], way: Way) -> Batch:
        batch = collate(rows, 2)
        if way == "encoder":
            batch = replace(batch, inputs={"image": self.made.pixels})
        else:
            batch = replace(batch, features={"image": self.made.batch.features["image"]})
        return batch.planned(self.model.backbone.llm.plan(batch.labels, batch.mask, None, batch.branches))

    def peers(self, micro: int, seed: int = 0) -> list[dict[str, Tensor]]:
        """All pairs as TRL's micro-batches: chosen answers first, right-padded, each picture twice.

        Args:
            micro: number of micro-batches; pairs of similar length share one.
            seed: seed of the ids.
        """
        rows = self.rows(seed)
        size = len(rows) // micro
        found = []
        for start in range(0, len(rows), size):
            own = rows[start : start + size]
            batch = collate([pair[side] for side in (0, 1) for pair in own], 2)
            pixels = self.made.pixels[start : start + size]
            inputs = {
                "input_ids": batch.ids.masked_fill(batch.slots, IMAGE_ID),
                "attention_mask": batch.mask,
                "completion_mask": (batch.labels != IGNORE).long(),
                "pixel_values": torch.cat([pixels, pixels]).float(),
            }
            found.append({name: value.to(self.setting.device) for name, value in inputs.items()})
        return found


def build(sizes: Sizes, pairs: tuple[Pair, ...], setting: Setting, bf16: bool) -> Sides:
    """Build both sides with the same weights."""
    lengths = [1 + sizes.patches + words + chosen for words, chosen, _ in pairs]
    dtype = torch.bfloat16 if setting.device.type == "cuda" and bf16 else torch.float32
    made = make(sizes, lengths, [chosen for _, chosen, _ in pairs], device=setting.device, dtype=dtype)
    language = LanguageModel(made.llm, miniature_backbone().llm.tokenizer)
    adapter = Adapter.for_backbone(
        backbone := Backbone(language, {"image": ClipEncoder(made.vision, _processor(sizes))}),
        system="llava",
        name="benchmark",
        layout=Layout(template="vicuna_v1"),
        inputs={"image": MlpConfig()},
        lora=LoraConfig(r=sizes.rank, alpha=32.0),
    )
    adapter.to(setting.device)
    made = replace(made, projector=adapter.inputs["image"])
    lora: Any = adapter.lora
    theirs = TrlSide(made, lora, bf16)
    _ = theirs.model, theirs.start
    model = adapter.attach(backbone)
    if bf16:
        halve(made.llm)
        features = made.batch.features["image"].bfloat16()
        made = replace(made, batch=replace(made.batch, features={"image": features}))
    return Sides(made, model, theirs, setting, FrozenCopy(model), pairs)


def _processor(sizes: Sizes) -> Any:
    from transformers import CLIPImageProcessorPil

    side: Any = sizes.pixels
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def small(setting: Setting, bf16: bool) -> Small:
    """Build the narrow model for the checks."""
    sides = build(CURVE_SIZES, CURVE_PAIRS, setting, bf16)
    seeds = [step % CURVE_BATCHES for step in range(setting.curve_steps)]
    return Small(sides, [sides.ours("live", seed) for seed in seeds], [sides.peers(1, seed) for seed in seeds])


def measure(
    setting: Setting, sizes: Sizes | None = None, pairs: tuple[Pair, ...] = PAIRS, *, live: float, stored: float
) -> Outcome:
    """Check that both sides do the same work, then compare their pairs per second.

    Args:
        setting: device and number of rounds.
        sizes: sizes of the model; 121 million parameters if not given.
        pairs: pairs of one step.
        live: target of the ratio with a live reference on both sides.
        stored: target of the ratio with our stored log-probabilities.
    """
    if missing := trl_missing():
        return Outcome(title=TITLE, skipped=missing)
    bf16 = setting.bf16
    sides = build(*((CURVE_SIZES, CURVE_PAIRS) if setting.tiny else (sizes or Sizes(), pairs)), setting, bf16)
    checks = check(setting, partial(small, setting), sides)
    ways: dict[Way, tuple[str, float | None]] = {
        "live": ("live reference, cached features", live),
        "stored": ("stored log-probabilities, cached features", stored),
        "encoder": ("live reference, encoder in our loop too", None),
    }
    tried = {micro: sides.fit_theirs([sides.peers(micro)], bf16)[0] for micro in MICRO if micro <= len(sides.pairs)}
    micro = min(tried, key=lambda number: tried[number].wall)
    peers = sides.peers(micro)

    def step(batch: PairBatch) -> Spent:
        return sides.fit_ours([batch], bf16)[0]

    runs: list[Callable[[], Spent]] = [lambda: sides.fit_theirs([peers], bf16)[0]]
    runs += [partial(step, sides.ours(way)) for way in ways]
    theirs, *ours = in_turn(runs, setting.repeats, setting.device)
    count = len(sides.pairs)
    kind = "bfloat16" if bf16 else "float32"
    return Outcome(
        title=TITLE,
        checks=checks,
        comparisons=[
            Comparison.of_times(
                "tuned",
                f"TRL's DPOTrainer, {kind}, sdpa, {micro} micro-batches of similar length; ours: {what}",
                theirs,
                side,
                target=target,
                void=bool(checks.fault),
                more=({"pairs_per_second": count / theirs.median}, {"pairs_per_second": count / side.median}),
            )
            for (what, target), side in zip(ways.values(), ours, strict=True)
        ],
        facts={
            "unit": "pairs/s",
            "pairs": [list(pair) for pair in sides.pairs],
            "seconds_by_micro_batches": {str(number): spent.wall for number, spent in tried.items()},
            "trains": "LoRA on all linears of the LLM, and the projector",
            "reference": "theirs: adapters disabled; log-probabilities are not stored for pictures by TRL",
        },
    )


def memory(
    setting: Setting, sizes: Sizes | None = None, pairs: tuple[Pair, ...] = PAIRS, *, target: float = 0.5
) -> Outcome:
    """Peak memory of one step, all pairs in one batch.

    Args:
        setting: device and precision.
        sizes: sizes of the model; 121 million parameters if not given.
        pairs: pairs of one step.
        target: target of ours over theirs.
    """
    title = f"{TITLE}: peak memory"
    if missing := trl_missing():
        return Outcome(title=title, skipped=missing)
    chosen = (CURVE_SIZES, CURVE_PAIRS) if setting.tiny else (sizes or Sizes(), pairs)
    theirs, smaller, live, stored = (
        in_child(partial(memory_of, setting, *chosen, side))["bytes"] for side in (*MICRO, "live", "stored")
    )
    rows = (
        ("all pairs in one batch; ours: live reference", theirs, live, target),
        ("all pairs in one batch; ours: stored log-probabilities", theirs, stored, target),
        (f"theirs in {MICRO[-1]} micro-batches, ours in one batch: live reference", smaller, live, None),
    )
    return Outcome(
        title=title,
        comparisons=[
            Comparison(
                opponent="tuned",
                what=f"peak over the weights, {what}",
                ratio=own / other,
                target=wanted,
                better="lower",
                unit="of their bytes",
                theirs={"bytes": other},
                ours={"bytes": own},
            )
            for what, other, own, wanted in rows
        ],
    )


def memory_of(
    setting: Setting, sizes: Sizes, pairs: tuple[Pair, ...], side: int | Literal["live", "stored"]
) -> dict[str, int]:
    """The bytes that one side's step adds in this process.

    Args:
        setting: device and precision.
        sizes: sizes of the model.
        pairs: pairs of the step.
        side: our variant, or the number of TRL's micro-batches.
    """
    bf16 = setting.bf16
    sides = build(sizes, pairs, setting, bf16)
    batch: Any = sides.peers(side) if isinstance(side, int) else sides.ours(side)
    for module in (sides.theirs.model, sides.model.adapter, sides.model.backbone):
        for parameter in module.parameters():
            parameter.detach().sum()
    before = reset_peak(setting.device)
    fit = sides.fit_theirs if isinstance(side, int) else sides.fit_ours
    fit([batch], bf16)
    return {"bytes": peak_bytes(setting.device) - before}
