"""Pretrain the miniature LLaMA: about a million parameters, reads described scenes.

`python -m pretraining.language.llama --output DIR --seed 0` runs the phases below, each with a new AdamW and
schedule. The architecture is LLaMA's (https://arxiv.org/abs/2302.13971). The loss is the mean over reply tokens.

The difficulty is to tell the objects of a scene apart. The more values an attribute has, the longer a model guesses
among those in the scene: it looks shapes (6 values) up after 500 steps, colours (8 values) not even after 1200. So
the first phases have a world of three colours, three shapes and three places, where look-up is learnt in 300 steps;
some hundred more steps transfer it to the full world. Places (9 values of two words) and comparisons have such a
phase too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from inlay.recipes.data.preparation.instruction_templates import QUESTION
from pretraining.language.byte_pair_tokenizers import make_tokenizer
from pretraining.language.corpus import Mix
from pretraining.language.decoder_only import batches, predict, read_accuracy
from pretraining.language.phases import Family, Phase, main

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

FEW = 3
PLACES: dict[str, Any] = {"statements": 0.7, "stated": ("place",), "plain": 0, "talk": 0, "digits": 0, "lone": 0.1}
COMPARED: dict[str, Any] = {"hard": 1.0, "comparisons": 6, "turns": 9, "plain": 0, "talk": 0, "digits": 0, "lone": 0.0}
EVERYTHING = Mix(lists=0.05, statements=0.1, hard=1.0, system=0.06, plain=0.12, captions=0.3, templates=0.15, turns=8)
WORDED: dict[str, Any] = {"templates": 0.45, "wordings": QUESTION}
PHASES = (
    Phase(steps=450, lr=2e-3, decay=0, mix=Mix(lists=1.0, plain=0, talk=0, digits=0, lone=0.1, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(lists=0.3, statements=0.2, plain=0, talk=0, digits=0, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(lists=0.7, statements=0.2, plain=0, talk=0, digits=0, lone=0.1)),
    Phase(steps=1000, lr=2e-3, decay=0, mix=Mix(lists=0.2, statements=0.2, plain=0, talk=0, digits=0, hard=0.5)),
    Phase(steps=1700, lr=2e-3, decay=0, mix=EVERYTHING),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES, values=FEW)),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES)),
    Phase(steps=850, lr=1.5e-3, decay=0, mix=EVERYTHING),
    Phase(steps=350, lr=1.5e-3, decay=0, mix=Mix(**COMPARED, values=FEW)),
    Phase(steps=1000, lr=1.5e-3, decay=900, mix=replace(EVERYTHING, comparisons=2, turns=9)),
    Phase(steps=1500, lr=1.5e-3, decay=1300, mix=replace(EVERYTHING, **WORDED, comparisons=2, turns=9)),
    Phase(steps=1800, lr=1.5e-3, decay=1500, mix=replace(EVERYTHING, **WORDED, comparisons=2, turns=9, media=0.4)),
)


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A LLaMA 128 wide, of 4 layers and 4 heads, with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},  # for texts of hundreds of tokens, not thousands
        initializer_range=128**-0.5,  # 0.02 leaves so narrow a model with flat attention for long
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.lm_head.weight.data.copy_(model.model.embed_tokens.weight.data)  # most replies copy words: a head start
    return model


LLAMA = Family(
    tokenizer=partial(make_tokenizer, "llama"),
    model=make_model,
    batches=batches,
    predict=predict,
    accuracy=lambda model, tokenizer, scenes: read_accuracy(model, tokenizer, seed=12345, scenes=scenes, media=scenes),
    phases=PHASES,
)

if __name__ == "__main__":
    main(LLAMA, __doc__)
