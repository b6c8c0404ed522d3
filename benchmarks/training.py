"""A training measure of any system: checks, then alternating runs of both opponents and ours, then the rates.

In float32 the first losses and the gradients of both sides must agree to 1e-4. In bfloat16 even two runs of *one* side
would not, because rounding alone changes gradients by several per cent. So there the narrow model of the loss curves is
used twice: in float32 the sides must agree as above, and in bfloat16 the difference of our gradients from those of
float32 must be at most 2e-2, or at most twice theirs: with frozen weights in bfloat16 the residual stream is rounded
too, which autocast over float32 weights does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from benchmarks.equal import apart, curve_gap, differ
from benchmarks.machine import gemm_rates
from benchmarks.necessary import utilisation
from benchmarks.outcome import Checks, Comparison, Outcome
from benchmarks.setting import Setting
from benchmarks.timing import Spent, Times, in_turn

__all__ = ["Sides", "Small", "Targets", "Work", "check", "train_in_turn"]


class Sides(Protocol):
    """Our side and theirs, with the same weights."""

    def first(self, bf16: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Loss and gradients of one step, of our side and of theirs."""
        ...

    def fit_ours(self, batches: Sequence[Any], bf16: bool) -> tuple[Spent, list[float]]:
        """Train our stage on batches; the time, and the loss of each step."""
        ...

    def fit_theirs(self, batches: Sequence[Any], bf16: bool, checkpointing: bool = False) -> tuple[Spent, list[float]]:
        """Train with their trainer on batches; the time, and the loss of each step."""
        ...


@dataclass(frozen=True)
class Small:
    """A narrow model built by the same code, with fifty batches for each side."""

    sides: Sides
    ours: Sequence[Any]
    theirs: Sequence[Any]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Targets of the ratios; None for no target."""

    documented: float | None = None
    tuned: float | None = None
    utilisation: float | None = None
    """Share of the bfloat16 matrix rate measured in the run."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of one repetition: the same samples for all sides."""

    title: str
    samples: int
    flops: int
    """Necessary FLOPs of one pass over the samples."""
    ours: Sequence[Any]
    """Our batches, of conversations of similar length."""
    tuned: Sequence[Any]
    """The same batches for the tuned opponent."""
    documented: Sequence[Any]
    """Batches in random order, for the documented opponent."""
    checkpointing: bool = False
    """Whether the documented opponent's script uses gradient checkpointing."""
    targets: Targets = field(default_factory=Targets)
    facts: Mapping[str, Any] = field(default_factory=dict)


def check(setting: Setting, small: Callable[[bool], Small], sides: Sides) -> Checks:
    """The checks of a training measure.

    Args:
        setting: device and precision.
        small: builds the narrow model, in bfloat16 or not.
        sides: both sides at full size.
    """
    bf16 = setting.bf16
    narrow = small(bf16)
    _, ours = narrow.sides.fit_ours(narrow.ours, bf16)
    _, theirs = narrow.sides.fit_theirs(narrow.theirs, bf16)
    own, other = sides.first(bf16)
    loss = abs(float(own["loss"]) - float(other["loss"])) / abs(float(other["loss"]))
    rounding = None
    if bf16:
        reference = small(False).sides.first(False)
        gradients = differ(*(_gradients(side) for side in reference))
        rounded = small(True).sides.first(True)
        exact = _gradients(reference[1])
        rounding = apart(_gradients(rounded[0]), exact), apart(_gradients(rounded[1]), exact)
    else:
        gradients = differ(_gradients(own), _gradients(other))
    return Checks(
        precision=setting.precision(bf16),
        loss=loss,
        gradients=gradients,
        rounding=rounding,
        curve=curve_gap(ours, theirs),
        note=f"{setting.curve_steps} steps{', gradients' if bf16 else ''} on a narrow model, by the same code",
    )


def train_in_turn(setting: Setting, sides: Sides, work: Work, checks: Checks) -> Outcome:
    """Compare samples per second of the documented opponent, the tuned one and ours.

    Args:
        setting: device and number of rounds.
        sides: both sides.
        work: the batches and targets.
        checks: checks that both sides do the same work.
    """
    bf16, gpu = setting.bf16, setting.device.type == "cuda"
    runs: list[Callable[[], Spent]] = [
        lambda: sides.fit_theirs(work.documented, gpu, work.checkpointing)[0],
        lambda: sides.fit_theirs(work.tuned, bf16)[0],
        lambda: sides.fit_ours(work.ours, bf16)[0],
    ]
    if gpu:
        for run in runs:
            run()
    # The slowest has one round; the other two have more, since their ratio is the relevant one.
    slow, quick, ours = in_turn(runs, 1, setting.device)
    for side, further in zip((quick, ours), in_turn(runs[1:], setting.repeats - 1, setting.device), strict=True):
        side.extend(further)
    rates = gemm_rates(setting.device)

    def rate(side: Times) -> dict[str, Any]:
        return {
            "samples_per_second": work.samples / side.median,
            "utilisation": utilisation(work.flops, side.median, rates),
        }

    kind = "bfloat16" if bf16 else "float32"
    checkpointing = ", gradient checkpointing" if work.checkpointing else ""
    what = {
        "documented": f"{'bfloat16' if gpu else 'float32'}, batches as they come{checkpointing}",
        "tuned": f"{kind}, batches of like length, sdpa",
    }
    void, mine = bool(checks.fault), rate(ours)
    comparisons = [
        Comparison.of_times(name, what[name], side, ours, target=target, void=void, more=(rate(side), mine))
        for name, side, target in (("documented", slow, work.targets.documented), ("tuned", quick, work.targets.tuned))
    ]
    product = "bfloat16" if rates["bfloat16"] is not None else "float32"
    comparisons.append(
        Comparison(
            opponent="machine",
            what=f"a matrix product in {product}, measured in the run",
            ratio=None if void else mine["utilisation"][product],
            # The target is for bfloat16; of a float32 product the same work is a far larger share.
            target=work.targets.utilisation if product == "bfloat16" else None,
            unit="necessary-FLOP utilisation",
            theirs={"flop_per_second": rates[product]},
            ours=mine,
            spread=ours.spread,
        )
    )
    facts = {
        "unit": "samples/s",
        "samples": work.samples,
        "steps_per_repetition": {"documented": len(work.documented), "tuned": len(work.tuned), "ours": len(work.ours)},
        "necessary_tflop": work.flops / 1e12,
        "gemm_flop_per_second": rates,
        **work.facts,
    }
    return Outcome(title=work.title, comparisons=comparisons, checks=checks, facts=facts)


def _gradients(step: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in step.items() if name != "loss"}
