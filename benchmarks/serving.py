"""Serving as measures: bytes of bundles, swapping, several adapters in one batch, a second question about a picture.

The sides are those of :mod:`benchmarks.serve`, which are checked for equal tokens or equal tensors before they are
timed.
"""

from __future__ import annotations

from benchmarks.outcome import Comparison, Outcome
from benchmarks.serve import Pair, mixed, prefix, resident, sizes, swap
from benchmarks.serve_models import Served, build
from benchmarks.setting import Setting
from benchmarks.timing import in_turn

__all__ = ["bundle_bytes", "mixed_adapters", "second_question", "swapping"]


def bundle_bytes(setting: Setting) -> Outcome:
    """Bytes of weights, compared with peft's float32."""
    targets = {"int8": 0.26, "bfloat16": 0.5}
    comparisons = []
    for name, (ours, theirs) in sizes(_built(setting), setting.place).items():
        # peft's file has a header too, so a ratio of whole files may lie a thousandth above a half.
        target = next(value for kind, value in targets.items() if kind in name)
        comparisons.append(
            Comparison(
                opponent=name,
                what="peft's and torch's default, float32",
                ratio=ours / theirs,
                target=target,
                better="lower",
                unit="of their bytes",
                theirs={"bytes": theirs},
                ours={"bytes": ours},
            )
        )
    return Outcome(
        title="bytes of a bundle",
        comparisons=comparisons,
        facts={"int8": "offered behind a gate: at most 0.1 % more held-out loss (inlay quantise)"},
    )


def swapping(setting: Setting) -> Outcome:
    """Swapping from one adapter to another and back."""
    made = _built(setting)
    pairs = swap(made, setting.place)
    targets = {pairs[0].name: 15.0}
    comparisons = [_timed(setting, pair, targets.get(pair.name)) for pair in pairs]
    rate = resident(made, 400 if setting.tiny else 4000)
    comparisons.append(
        Comparison(
            opponent="resident adapters",
            what="among eight in memory",
            ratio=rate,
            target=5000.0 if setting.device.type == "cuda" else 1000.0,
            unit="swaps/s",
        )
    )
    return Outcome(title="swapping adapters", comparisons=comparisons, facts={"model": made.about})


def mixed_adapters(setting: Setting) -> Outcome:
    """Eight conversations, each with its own adapter."""
    made = _built(setting)
    pairs = mixed(made, setting.place)
    targets = {pairs[0].name: 1.5}
    return Outcome(
        title="eight adapters in one batch",
        comparisons=[_timed(setting, pair, targets.get(pair.name), setting.repeats) for pair in pairs],
        facts={"model": made.about, "checks": "the same tokens on every side"},
    )


def second_question(setting: Setting) -> Outcome:
    """Time to the first token of a second question."""
    made = _built(setting)
    target = 3.5 if setting.device.type == "cuda" else 4.0
    kept = made.model
    comparisons = [_timed(setting, pair, target) for pair in prefix(made, setting.place)]
    cache = kept.prefixes
    facts = {"model": made.about, "checks": "the same answer on both sides"}
    if cache is not None:
        facts |= {"reused_positions": str(cache.reused), "bytes_kept": str(cache.bytes)}
    return Outcome(title="second question about the same picture, first token", comparisons=comparisons, facts=facts)


def _built(setting: Setting) -> Served:
    return build(setting.place, 64, 2) if setting.tiny else build(setting.place)


def _timed(setting: Setting, pair: Pair, target: float | None, rounds: int | None = None) -> Comparison:
    pair.theirs(), pair.ours()
    first, second = in_turn((pair.theirs, pair.ours), rounds or setting.quick_repeats, setting.device)
    opponent, own = pair.name.split(" -> ")
    return Comparison.of_times(opponent, f"ours: {own}", first, second, target=target)
