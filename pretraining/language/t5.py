"""Pretrain the miniature T5 of BLIP-2: an encoder-decoder of about a million parameters, reads described scenes.

`python -m pretraining.language.t5 --output DIR --seed 0` runs the phases below, which start in a world of few values
(see `llama`). Each source has one question, as in Flan (see `encoder_decoder`). The architecture is Flan-T5's: gated
GELU, untied head (https://arxiv.org/abs/2002.05202).

T5 gets the order of tokens only from its relative position biases. With the usual initialisation near zero, AdamW
takes thousands of steps to make them large enough for a head that attends to the neighbouring token, and without such
a head no look-up is learnt. So the heads start with slopes, as in ALiBi (https://arxiv.org/abs/2108.12409), and with
the left and the right neighbour.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from inlay.recipes.data.preparation.instruction_templates import QUESTION
from pretraining.language.byte_pair_tokenizers import make_tokenizer
from pretraining.language.corpus import Mix
from pretraining.language.corpus_layout import BLIP2_PROMPTS
from pretraining.language.encoder_decoder import batches, predict, read_accuracy
from pretraining.language.phases import Family, Phase, main

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

FEW = 3
LAID: dict[str, Any] = {"layout": "blip2", "wordings": BLIP2_PROMPTS}
LOOK_UP: dict[str, Any] = {**LAID, "plain": 0, "talk": 0, "digits": 0, "lone": 0.1}
PLACES: dict[str, Any] = {**LOOK_UP, "statements": 0.7, "stated": ("place",)}
COMPARED: dict[str, Any] = {**LOOK_UP, "hard": 1.0, "comparisons": 6, "turns": 9, "lone": 0.0}
EVERYTHING: dict[str, Any] = {**LAID, "wordings": QUESTION, "hard": 1.0, "plain": 0.15, "captions": 0.5, "turns": 9}
RATE = 7e-4  # at 2e-3, the rate of OPT and LLaMA, look-up was not learnt
PHASES = (
    Phase(steps=250, lr=RATE, decay=0, mix=Mix(**LOOK_UP, lists=1.0, values=FEW)),
    Phase(steps=250, lr=RATE, decay=0, mix=Mix(**LOOK_UP, lists=0.3, statements=0.2, values=FEW)),
    Phase(steps=250, lr=RATE, decay=0, mix=Mix(**LOOK_UP, lists=0.7, statements=0.2)),
    Phase(steps=500, lr=RATE, decay=0, mix=Mix(**LOOK_UP, lists=0.2, statements=0.2, hard=0.5)),
    Phase(steps=150, lr=RATE, decay=0, mix=Mix(**PLACES, values=FEW)),
    Phase(steps=150, lr=RATE, decay=0, mix=Mix(**PLACES)),
    Phase(steps=250, lr=RATE, decay=0, mix=Mix(**COMPARED, values=FEW)),
    Phase(steps=1700, lr=RATE, decay=1000, mix=Mix(**EVERYTHING, comparisons=2)),
)
LAST = 128.0
"""The distance of T5's last bucket."""


def make_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """A T5 128 wide, with 4 encoder layers, 2 decoder layers and 4 heads, with random weights."""
    from transformers import T5Config, T5ForConditionalGeneration

    ids: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=128,
        d_kv=32,
        d_ff=256,
        num_layers=4,
        num_decoder_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        **ids,
    )
    model = T5ForConditionalGeneration(config)
    # transformers initialises the head with deviation 1, for the relative steps of Adafactor; AdamW's are absolute.
    model.lm_head.weight.data.mul_(config.d_model**-0.5)
    stacks: list[tuple[Any, bool]] = [(model.encoder, True), (model.decoder, False)]
    for stack, both_ways in stacks:
        attention = stack.block[0].layer[0].SelfAttention
        attention.relative_attention_bias.weight.data.copy_(_slopes(both_ways=both_ways))
    return model


def _slopes(*, both_ways: bool, buckets: int = 32) -> Tensor:
    """Initial biases (buckets, 4 heads): almost flat; near; left neighbour; right neighbour or, in the decoder, wide.

    The first half of T5's buckets for a direction has one bucket for each distance, the second half is logarithmic.
    """
    each = buckets // 2 if both_ways else buckets
    exact = each // 2
    behind = [exact * (LAST / exact) ** (step / (each - exact)) for step in range(each - exact)]
    distance = torch.tensor([*range(exact), *behind])
    flat, near, next_one = -0.02 * distance, -0.5 * distance, -1.5 * (distance - 1).abs()
    if not both_ways:
        return torch.stack([flat, near, next_one, -0.2 * distance], dim=1)
    left = torch.stack([flat, near, next_one, next_one - 6], dim=1)
    right = torch.stack([flat, near, next_one - 6, next_one], dim=1)
    return torch.cat([left, right])


T5 = Family(
    tokenizer=partial(make_tokenizer, "t5"),
    model=make_model,
    batches=batches,
    predict=predict,
    accuracy=lambda model, tokenizer, scenes: read_accuracy(
        model, tokenizer, seed=12345, scenes=scenes, wordings=BLIP2_PROMPTS
    ),
    phases=PHASES,
)

if __name__ == "__main__":
    main(T5, __doc__)
