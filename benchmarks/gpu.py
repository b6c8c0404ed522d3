"""``python -m benchmarks.gpu``: the measures at full size on one GPU, with random weights, in under ten minutes.

The code is that of the CPU suite with other sizes, device and dtype. Without a GPU it prints a message and stops.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import blip2, llava, memory, nextgpt
from benchmarks.child import in_child
from benchmarks.cpu import TINY, TINY_LLAVA
from benchmarks.llava_120m import Sizes
from benchmarks.outcome import Outcome
from benchmarks.setting import Setting
from benchmarks.suite import main
from benchmarks.training import Targets

__all__ = ["MEASURES", "run"]

CLIP: dict[str, Any] = {"vision": 1024, "vision_layers": 24, "pixels": 336}
VICUNA = Sizes(width=4096, layers=32, ffn=11008, heads=32, vocabulary=32000, **CLIP)
QWEN_SMALL = Sizes(
    family="qwen2", width=896, layers=24, ffn=4864, heads=14, key_heads=2, vocabulary=151936, **CLIP
)  # fmt: skip
QWEN = Sizes(
    family="qwen2", width=3584, layers=28, ffn=18944, heads=28, key_heads=4, vocabulary=152064, **CLIP
)  # fmt: skip

CAPTIONS = (597,) * 16
MIXED = (1690, 1510, 1370, 1260, 1160, 1080, 1010, 940, 880, 820, 770, 730, 700, 680, 660, 640)
"""Tokens as in LLaVA's instruction data: median 910, including 576 of a picture."""
IN_ORDER = (tuple(range(8)), tuple(range(8, 16)))
AS_THEY_COME = ((0, 13, 4, 15, 8, 2, 11, 6), (1, 14, 5, 12, 9, 3, 10, 7))


def _captions(title: str, sizes: Sizes, targets: Targets) -> llava.Config:
    """Captions of nearly one length, 20 labelled tokens: LLaVA's first stage."""
    batches: dict[str, Any] = {
        "sorted_batches": IN_ORDER,
        "random_batches": AS_THEY_COME,
        "labelled": (20,) * len(CAPTIONS),
    }
    return llava.Config(
        title=title, sizes=sizes, trains="projector", lengths=CAPTIONS, targets=targets, checkpointing=True, **batches
    )


def _mixed(title: str, sizes: Sizes, targets: Targets) -> llava.Config:
    """Conversations of mixed lengths, a fifth labelled, with LoRA: LLaVA's second stage."""
    labelled = tuple((length - 576) // 3 for length in MIXED)
    batches: dict[str, Any] = {"sorted_batches": IN_ORDER, "random_batches": AS_THEY_COME, "labelled": labelled}
    return llava.Config(
        title=title, sizes=sizes, trains="lora", lengths=MIXED, targets=targets, checkpointing=True, **batches
    )


LLAVAS = {
    "projector-7b": _captions(
        "LLaVA 1.5 7B, stage 1, projector only", VICUNA, Targets(documented=1.9, tuned=1.3, utilisation=0.5)
    ),
    "lora16-7b": _mixed(
        "LLaVA 1.5 7B, stage 2, LoRA of rank 16", VICUNA, Targets(documented=3.0, tuned=1.25, utilisation=0.47)
    ),
    "lora128-7b": _mixed(
        "LLaVA 1.5 7B, stage 2, LoRA of rank 128",
        replace(VICUNA, rank=128),
        Targets(documented=3.0, tuned=1.25, utilisation=0.47),
    ),
    "small-vocabulary": _captions(
        "CLIP-L/336 with Qwen2.5 0.5B, projector only", QWEN_SMALL, Targets(documented=3.0, tuned=1.8)
    ),
    "large-vocabulary": _mixed(
        "CLIP-L/336 with Qwen2.5 7B, LoRA of rank 16", QWEN, Targets(documented=3.0, tuned=1.25, utilisation=0.47)
    ),
}
OUTPUT = nextgpt.Config(
    title="NExT-GPT 7B, output projector after the first epoch",
    sizes=nextgpt.Sizes(width=4096, layers=32, ffn=11008, heads=32, hidden=512),
    captions=64,
    per_batch=32,
    targets=Targets(tuned=20.0),
)
BLIP2 = blip2.Config(
    title="BLIP-2 with ViT-g and OPT 2.7B, stage 2 after the first epoch",
    sizes=blip2.Sizes(
        vision=1408, vision_layers=39, vision_heads=16, vision_ffn=6144, hidden=768, layers=12, heads=12, width=2560,
        llm_layers=32, llm_heads=32, vocabulary=50304,
    ),
    words=(14, 8, 13, 9, 12, 10, 11, 15) * 8,
    per_batch=32,
    targets=Targets(tuned=1.9),
)  # fmt: skip


def _llava(config: llava.Config, setting: Setting) -> Outcome:
    tiny = replace(TINY, family=config.sizes.family, heads=2, key_heads=1 if config.sizes.key_heads else 2)
    small = replace(
        config,
        **TINY_LLAVA | {"sizes": tiny},
        sorted_batches=((0, 1), (2, 3)),
        random_batches=((0, 3), (1, 2)),
        checkpointing=False,
    )
    return llava.measure(setting, small if setting.tiny else config)


def _output(setting: Setting) -> Outcome:
    small = replace(OUTPUT, sizes=nextgpt.CURVE, captions=4, per_batch=2)
    return nextgpt.measure(setting, small if setting.tiny else OUTPUT)


def _blip2(setting: Setting) -> Outcome:
    small = replace(BLIP2, sizes=blip2.CURVE, words=BLIP2.words[:4], per_batch=2)
    return blip2.measure(setting, small if setting.tiny else BLIP2)


def _memory(sizes: Sizes, target: float, setting: Setting) -> Outcome:
    if setting.tiny:
        return memory.peak_memory(setting, target=target)
    lengths = MIXED[::2]
    return memory.peak_memory(setting, sizes, lengths, [(length - 576) // 3 for length in lengths], target)


MEASURES: dict[str, Callable[[Setting], Outcome]] = {
    **{name: partial(_llava, config) for name, config in LLAVAS.items()},
    "output-7b": _output,
    "blip2-2.7b": _blip2,
    "memory-7b": partial(_memory, VICUNA, 0.6),
    "memory-large-vocabulary": partial(_memory, QWEN, 0.35),
}
"""Name -> measure."""


def _gpu() -> dict[str, bool]:
    return {"there": torch.cuda.is_available()}


def run() -> int:
    """Run the suite, or print a message if there is no GPU."""
    # Checked in a forked process, because an initialised CUDA context cannot be used after a fork.
    if not in_child(_gpu)["there"]:
        print("skipped: no GPU")
        return 0
    out = Path("benchmarks/results/gpu.json")
    return main(MEASURES, out, torch.device("cuda"), about=str(__doc__), limit=150, budget=450)


if __name__ == "__main__":
    sys.exit(run())
