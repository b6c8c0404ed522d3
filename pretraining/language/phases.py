"""How all miniature language models are pretrained: in phases, AdamW anew in each, with the loss on replies only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from pretraining import training_loop
from pretraining.command_line import parse, print_size
from pretraining.optimizers import scheduled
from pretraining.percentages import percentages
from pretraining.rounded_weights import save_rounded

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from pretraining.language.corpus import Mix

BATCH = 32
WARM_UP = 60  # steps of each phase
POOL = 10  # batches made at once and cut by length, so that little is padded


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of the pretraining."""

    steps: int
    """Optimizer steps."""
    lr: float
    """AdamW's learning rate after the warm-up."""
    decay: int
    """Steps at the end in which the rate falls linearly to zero; 0 for none."""
    mix: Mix
    """What the texts are."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between the language models."""

    tokenizer: Callable[[], PreTrainedTokenizerFast]
    """Makes the tokenizer."""
    model: Callable[[PreTrainedTokenizerFast], Any]
    """Makes the model with random weights."""
    batches: Callable[[PreTrainedTokenizerFast, Random, Mix], Iterator[Any]]
    """Endless batches of fresh texts."""
    predict: Callable[[Any, Any], tuple[Tensor, Tensor]]
    """Model and batch -> logits (tokens, vocabulary) and the tokens they should predict."""
    accuracy: Callable[[Any, PreTrainedTokenizerFast, int], dict[str, float]]
    """Model, tokenizer and number of held-out scenes -> share of right replies, by kind."""
    phases: tuple[Phase, ...]
    """What is done."""


def train(family: Family, model: Any, tokenizer: PreTrainedTokenizerFast, phase: Phase, rng: Random) -> None:
    """One phase, in place: AdamW, warm-up, a constant rate, then a linear fall."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=phase.lr, betas=(0.9, 0.98), weight_decay=0.01)

    source = family.batches(tokenizer, rng, phase.mix)
    training_loop.train(
        model,
        lambda _: {"loss": cross_entropy(*family.predict(model, next(source)))},
        [scheduled(optimizer, steps=phase.steps, warm_up=WARM_UP, decay=phase.decay / phase.steps)],
        steps=phase.steps,
        report=lambda: _report(family, model, tokenizer, scenes=100),
    )


def _report(family: Family, model: Any, tokenizer: PreTrainedTokenizerFast, *, scenes: int) -> None:
    figures = family.accuracy(model, tokenizer, scenes)
    print(f"held out: {percentages(figures)}", flush=True)


def main(family: Family, description: str | None) -> None:
    """Train, round to bfloat16, measure what was saved."""
    options = parse(description, after=0)
    tokenizer = family.tokenizer()
    model = family.model(tokenizer)
    if options.after:
        model = type(model).from_pretrained(options.output / f"phase-{options.after}")
    print_size(model)
    for number, phase in enumerate(family.phases[options.after :], options.after + 1):
        print(phase, flush=True)
        train(family, model, tokenizer, phase, Random(f"{options.seed} {number}"))
        model.save_pretrained(options.output / f"phase-{number}")
    save_rounded(model, options.output)
    tokenizer.save_pretrained(options.output)
    saved = type(model).from_pretrained(options.output)
    _report(family, saved, tokenizer, scenes=500)
