"""Peak memory of one training step with equal batches, each side in a separate process.

On a CPU it is the largest resident set minus that after all weights were read once; on a GPU the memory that torch
allocated. The bytes that autograd saves for the backward pass are reported too.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.child import in_child
from benchmarks.equal import train_step
from benchmarks.llava import Sides, build
from benchmarks.llava_120m import LABELLED, LENGTHS, Sizes, names_of
from benchmarks.outcome import Comparison, Outcome
from benchmarks.peak import peak_bytes, reset_peak
from benchmarks.setting import Setting
from benchmarks.timing import saved_bytes

__all__ = ["peak_memory"]

TINY = Sizes(width=128, vision=64, layers=2, vocabulary=300)


def peak_memory(
    setting: Setting,
    sizes: Sizes | None = None,
    lengths: Sequence[int] = LENGTHS,
    labelled: Sequence[int] = LABELLED,
    target: float = 0.45,
) -> Outcome:
    """Compare LoRA and projector training with all conversations in one batch.

    Args:
        setting: device and precision.
        sizes: the sizes of the model; 121 million parameters if not given.
        lengths: tokens of each conversation.
        labelled: labelled tokens of each conversation.
        target: the target of the ratio of ours to theirs.
    """
    chosen = TINY if setting.tiny else sizes or Sizes()
    ours, theirs = (in_child(partial(_one, setting, chosen, lengths, labelled, side)) for side in ("ours", "theirs"))
    comparisons = [
        Comparison(
            opponent="tuned",
            what=f"{what}, the whole batch at once, no checkpointing",
            ratio=ours[key] / theirs[key],
            target=wanted,
            better="lower",
            unit="of their bytes",
            theirs={"bytes": theirs[key]},
            ours={"bytes": ours[key]},
        )
        for key, what, wanted in (
            ("peak", "peak over the weights", target),
            ("saved", "kept for the backward pass", None),
        )
    ]
    return Outcome(
        title="peak memory at equal batch",
        comparisons=comparisons,
        facts={"ours": ours, "theirs": theirs, "positions": max(lengths) * len(lengths), "tokens": sum(lengths)},
    )


def _one(setting: Setting, sizes: Sizes, lengths: Sequence[int], labelled: Sequence[int], side: str) -> dict[str, Any]:
    """Measure one step of one side in this process."""
    bf16 = setting.bf16
    sides = build(sizes, "lora", lengths, labelled, setting, bf16)
    run = _step(sides, side, bf16)
    for parameter in _Everything(sides).parameters():
        parameter.detach().sum()
    before = reset_peak(setting.device)
    run()
    peak = peak_bytes(setting.device) - before
    return {
        "peak": peak,
        "weights": before,
        "ru_maxrss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "saved": saved_bytes(_forward(sides, side, bf16), _Everything(sides)),
    }


class _Everything(torch.nn.Module):
    """All weights of both sides, which do not count as saved for the backward pass."""

    def __init__(self, sides: Sides) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList([sides.theirs, sides.adapter, sides.model.backbone])


def _forward(sides: Sides, side: str, bf16: bool) -> Callable[[], torch.Tensor]:
    batch, device = sides.made.batch, sides.setting.device

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            if side == "theirs":
                loss: torch.Tensor = sides.theirs(batch)
            else:
                loss = sides.model(batch, logits="none").loss
        return loss

    return forward


def _step(sides: Sides, side: str, bf16: bool) -> Callable[[], object]:
    trained = (
        sides.theirs.trained() if side == "theirs" else names_of(sides.adapter.inputs["image"], sides.adapter.lora)
    )
    return partial(train_step, _forward(sides, side, bf16), trained)
