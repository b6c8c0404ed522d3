"""Pretraining of a language model in phases; each has a new AdamW, and the loss is on reply tokens only.

`--after N` continues after phase N, from `OUTPUT/phase-N`.
"""

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
POOL = 10  # batches that are encoded together and grouped by length


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
    """The composition of the corpus."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The functions that differ between the language models."""

    tokenizer: Callable[[], PreTrainedTokenizerFast]
    """Builds the tokenizer."""
    model: Callable[[PreTrainedTokenizerFast], Any]
    """Builds the model with random weights."""
    batches: Callable[[PreTrainedTokenizerFast, Random, Mix], Iterator[Any]]
    """An infinite iterator of batches."""
    predict: Callable[[Any, Any], tuple[Tensor, Tensor]]
    """Model and batch -> logits (tokens, vocabulary) and target tokens."""
    accuracy: Callable[[Any, PreTrainedTokenizerFast, int], dict[str, float]]
    """Model, tokenizer and number of held-out scenes -> share of right replies, by kind."""
    phases: tuple[Phase, ...]
    """In order."""


def train(family: Family, model: Any, tokenizer: PreTrainedTokenizerFast, phase: Phase, rng: Random) -> None:
    """Train one phase in place."""
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
    """Train, save in bfloat16, measure the saved model."""
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
