"""One training step: the fast path against the plain one and against ``LlavaForConditionalGeneration`` with peft.

    python -m benchmarks.step [--trains projector] [--rounds 3] [--width 768] [--layers 8] [--peers false]

Ratios of medians, A B B A in one process, after a check that both sides have the same loss and gradients. On a busy
machine the figures are only indicative; see the spread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.equal import differ, train_step
from benchmarks.llava_120m import LENGTHS, Ours, Peers, Sizes, Way, make
from benchmarks.timing import abba, saved_bytes

PLAIN = Way(fused=False, head="all", prune=False)
STEPS: dict[str, tuple[Way, Way]] = {
    "scores where there is a label": (PLAIN, Way(fused=False, head="labelled", prune=False)),
    "chunked cross-entropy": (
        Way(fused=False, head="labelled", prune=False),
        Way(fused=False, head="chunked", prune=False),
    ),
    "no padding, last label": (Way(fused=False, prune=False), Way(fused=False)),
    "fused LoRA": (Way(fused=False), Way()),
    "all of them": (PLAIN, Way()),
}
"""Name -> without, with."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trains", choices=("lora", "projector"), default="lora", help="what trains")
    parser.add_argument("--rounds", type=int, default=3, help="times A B B A")
    parser.add_argument("--width", type=int, default=768, help="of the LLM, a multiple of 128; half for the encoder")
    parser.add_argument("--layers", type=int, default=8, help="layers of the LLM and of the encoder")
    parser.add_argument("--vocabulary", type=int, default=32000, help="words")
    parser.add_argument("--peers", choices=("true", "false"), default="true", help="measure transformers and peft too")
    parser.add_argument("--only", choices=tuple(STEPS), help="one of the steps")
    chosen = parser.parse_args()
    sizes = Sizes(width=chosen.width, vision=chosen.width // 2, layers=chosen.layers, vocabulary=chosen.vocabulary)
    made = make(sizes)
    own = Ours(made, chosen.trains)
    side = partial(own, made.batch)
    print(
        f"{sum(LENGTHS)} tokens, trains: {chosen.trains}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'':34s} times faster (CPU seconds), spread, bytes kept, largest difference")
    for name, (without, with_it) in STEPS.items():
        if chosen.only in (None, name) and not (chosen.trains == "projector" and name == "fused LoRA"):
            compare(name, own, partial(side, without), own, partial(side, with_it), chosen.rounds)
    if chosen.peers == "true":
        theirs = Peers(made, own.lora)
        for name, way in (("transformers + peft", Way(encode=True)), ("the same, features cached", Way())):
            compare(name, theirs, partial(theirs, made.batch), own, partial(side, way), chosen.rounds)


def compare(
    name: str, a: Ours | Peers, loss_a: Callable[[], Tensor], b: Ours, loss_b: Callable[[], Tensor], rounds: int
) -> None:
    """Compare two sides and print one line.

    Args:
        name: the name of the comparison.
        a: the slow side.
        loss_a: the loss of ``a``.
        b: the fast side.
        loss_b: the loss of ``b``.
        rounds: number of rounds A B B A.
    """
    run_a, run_b = partial(train_step, loss_a, a.trained()), partial(train_step, loss_b, b.trained())
    difference = differ(run_b(), run_a())
    timed = abba(run_a, run_b, rounds)
    kept = saved_bytes(loss_a, a) / 1e6, saved_bytes(loss_b, b) / 1e6
    print(
        f"{name:34s} {timed.ratio:5.2f} ({timed.cpu_ratio:5.2f}), {timed.spread:4.0%}, "
        f"{kept[0]:6.0f} -> {kept[1]:6.0f} MB, {difference:.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
