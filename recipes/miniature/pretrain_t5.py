"""Pretrain the miniature T5: an encoder-decoder of about a million parameters that reads described scenes, for BLIP-2.

`python -m inlay.recipes.miniature.pretrain_t5 --output DIR --seed 0` goes through the phases below: many replies taken
out of one text first, as in T5's own pretraining, single questions in many wordings last, as in Flan (see `seq2seq`),
and in a world of few values first, for the reason that `pretrain_llama` gives. The architecture is Flan-T5's: gated
GELU, untied head (https://arxiv.org/abs/2002.05202).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from inlay.recipes.data.templates import QUESTION
from inlay.recipes.miniature.corpus import Mix
from inlay.recipes.miniature.corpus_layout import BLIP2_PROMPTS
from inlay.recipes.miniature.pretraining import Family, Phase, main
from inlay.recipes.miniature.seq2seq import batches, predict, read_accuracy
from inlay.recipes.miniature.tokenizer import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

FEW = 3
LAID: dict[str, Any] = {"layout": "blip2", "wordings": BLIP2_PROMPTS}
LOOK_UP: dict[str, Any] = {**LAID, "plain": 0, "talk": 0, "digits": 0, "lone": 0.1}
PLACES: dict[str, Any] = {**LOOK_UP, "statements": 0.7, "stated": ("place",)}
COMPARED: dict[str, Any] = {**LOOK_UP, "hard": 1.0, "comparisons": 6, "turns": 9, "lone": 0.0}
SINGLE: dict[str, Any] = {**LAID, "wordings": QUESTION, "turns": 1, "hard": 1.0, "plain": 0.15, "captions": 0.5}
PHASES = (
    Phase(steps=450, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=1.0, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=0.3, statements=0.2, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=0.7, statements=0.2)),
    Phase(steps=1000, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=0.2, statements=0.2, hard=0.5)),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES, values=FEW)),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES)),
    Phase(steps=350, lr=2e-3, decay=0, mix=Mix(**COMPARED, values=FEW)),
    Phase(steps=800, lr=2e-3, decay=0, mix=Mix(**LAID, lists=0.1, statements=0.1, hard=1.0, comparisons=2, turns=9)),
    Phase(steps=1200, lr=2e-3, decay=900, mix=Mix(**SINGLE, comparisons=2)),
)


def make_model(tokenizer: PreTrainedTokenizerFast) -> T5ForConditionalGeneration:
    """A T5 128 wide with 4 layers that read, 2 that write and 4 heads, with random weights."""
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
    # transformers draws the head with deviation 1, for Adafactor's relative steps; AdamW's are absolute.
    model.lm_head.weight.data.mul_(config.d_model**-0.5)
    return model


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
