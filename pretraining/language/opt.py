"""Pretrain the miniature OPT of BLIP-2: under a million parameters, reads described scenes.

`python -m pretraining.language.opt --output DIR --seed 0` runs the phases below, which start in a world of few values
(see `llama`). The architecture is OPT's (https://arxiv.org/abs/2205.01068). Texts have BLIP-2's layout: the BOS after
the description, a newline at the end.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pretraining.language.byte_pair_tokenizers import POSITIONS, make_tokenizer
from pretraining.language.corpus import Mix
from pretraining.language.corpus_layout import BLIP2_PROMPTS
from pretraining.language.decoder_only import batches, predict, read_accuracy
from pretraining.language.phases import Family, Phase, main

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import OPTForCausalLM, PreTrainedTokenizerFast

FEW = 3
LAID: dict[str, Any] = {"layout": "blip2", "wordings": BLIP2_PROMPTS}
LOOK_UP: dict[str, Any] = {**LAID, "plain": 0, "talk": 0, "digits": 0, "lone": 0.1}
PLACES: dict[str, Any] = {**LOOK_UP, "statements": 0.7, "stated": ("place",)}
COMPARED: dict[str, Any] = {**LOOK_UP, "hard": 1.0, "comparisons": 6, "turns": 9, "lone": 0.0}
EVERYTHING: dict[str, Any] = {**LAID, "lists": 0.05, "statements": 0.1, "hard": 1.0, "plain": 0.2, "captions": 0.3}
PHASES = (
    Phase(steps=450, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=1.0, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=0.3, statements=0.2, values=FEW)),
    Phase(steps=500, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=0.7, statements=0.2)),
    Phase(steps=1000, lr=2e-3, decay=0, mix=Mix(**LOOK_UP, lists=0.2, statements=0.2, hard=0.5)),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES, values=FEW)),
    Phase(steps=300, lr=2e-3, decay=0, mix=Mix(**PLACES)),
    Phase(steps=350, lr=2e-3, decay=0, mix=Mix(**COMPARED, values=FEW)),
    Phase(steps=1800, lr=2e-3, decay=900, mix=Mix(**EVERYTHING, comparisons=2, turns=9)),
)


def make_model(tokenizer: PreTrainedTokenizerFast) -> OPTForCausalLM:
    """An OPT 128 wide, of 4 layers and 4 heads, with random weights and sinusoidal initial positions."""
    from transformers import OPTConfig, OPTForCausalLM

    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        word_embed_proj_dim=128,
        ffn_dim=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=POSITIONS,
        dropout=0.0,
        init_std=128**-0.5,  # 0.02 leaves so narrow a model with flat attention for long
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = OPTForCausalLM(config)
    positions = model.model.decoder.embed_positions.weight
    positions.data.copy_(_sinusoids(*positions.shape) * config.init_std)
    return model


def _sinusoids(count: int, width: int) -> Tensor:
    """Sinusoidal positions (https://arxiv.org/abs/1706.03762): (count, width)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1000.0) / width))
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1) * math.sqrt(2)


OPT = Family(
    tokenizer=partial(make_tokenizer, "opt"),
    model=make_model,
    batches=batches,
    predict=predict,
    accuracy=lambda model, tokenizer, scenes: read_accuracy(
        model, tokenizer, seed=12345, scenes=scenes, layout="blip2", wordings=BLIP2_PROMPTS
    ),
    phases=PHASES,
)

if __name__ == "__main__":
    main(OPT, __doc__)
