"""The measures of the CPU suite, and their targets: ratios against the tuned opponent unless stated otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks import blip2, diffusion, llava, memory, nextgpt, preference, rewards, serving, startup
from benchmarks.llava_120m import Sizes
from benchmarks.outcome import Outcome
from benchmarks.setting import Setting
from benchmarks.training import Targets

__all__ = ["MEASURES"]

LENGTHS, LABELLED = (387, 330, 210, 190), (40, 34, 22, 20)
SORTED, RANDOM = ((0, 1), (2, 3)), ((0, 3), (1, 2))
"""Lengths with 6 and 22 % padding; random batches of four from LLaVA's instruction data have 22 %."""

LLAVA: dict[str, Any] = {
    "lengths": LENGTHS, "labelled": LABELLED, "sorted_batches": SORTED, "random_batches": RANDOM,
}  # fmt: skip
C1 = llava.Config(
    title="LLaVA of 121 M, LoRA and projector, mixed lengths",
    sizes=Sizes(),
    trains="lora",
    targets=Targets(documented=4.0, tuned=2.8, utilisation=0.35),
    **LLAVA,
)
C1_PROJECTOR = llava.Config(
    title="LLaVA of 121 M, projector only",
    sizes=Sizes(),
    trains="projector",
    targets=Targets(documented=3.5, tuned=2.3, utilisation=0.35),
    **LLAVA,
)
C2 = llava.Config(
    title="LLaVA with 64,000 words over blocks of 28 M, LoRA and projector",
    sizes=Sizes(width=512, layers=9, vision=256, vocabulary=64000),
    trains="lora",
    targets=Targets(tuned=3.0, utilisation=0.35),
    **LLAVA,
)
C3 = nextgpt.Config(
    title="NExT-GPT of 70 M, output projector after the first epoch",
    sizes=nextgpt.Sizes(),
    targets=Targets(tuned=15.0),
)
C4 = blip2.Config(
    title="BLIP-2 of 110 M, stage 2 after the first epoch",
    sizes=blip2.Sizes(),
    targets=Targets(tuned=1.8),
)
TINY = Sizes(width=128, vision=64, layers=2, vocabulary=300)
TINY_LLAVA: dict[str, Any] = {"sizes": TINY, "lengths": (97, 90, 80, 70), "labelled": (12, 10, 8, 6)}


def _llava(config: llava.Config) -> Callable[[Setting], Outcome]:
    def run(setting: Setting) -> Outcome:
        return llava.measure(setting, replace(config, **TINY_LLAVA) if setting.tiny else config)

    return run


def _nextgpt(setting: Setting) -> Outcome:
    small = replace(C3, sizes=nextgpt.CURVE, captions=4, per_batch=2)
    return nextgpt.measure(setting, small if setting.tiny else C3)


def _blip2(setting: Setting) -> Outcome:
    return blip2.measure(setting, replace(C4, sizes=blip2.CURVE) if setting.tiny else C4)


MEASURES: dict[str, Callable[[Setting], Outcome]] = {
    "lora": _llava(C1),
    "projector": _llava(C1_PROJECTOR),
    "vocabulary": _llava(C2),
    "memory": partial(memory.peak_memory, lengths=LENGTHS, labelled=LABELLED),
    "preference": partial(preference.measure, live=2.5, stored=3.5),
    "preference-memory": preference.memory,
    "grpo": rewards.measure,
    "output": _nextgpt,
    "blip2": _blip2,
    "bundle": serving.bundle_bytes,
    "swap": serving.swapping,
    "mixed": serving.mixed_adapters,
    "second": serving.second_question,
    "diffusion": diffusion.overhead,
    "start": startup.command_line,
}
"""Name -> measure."""
