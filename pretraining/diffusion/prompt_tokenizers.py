"""Tokenizers of the text encoders of the generators: CLIP's and RoBERTa's, trained on all prompts.

Byte-level BPE encodes any text; each word of the prompts is one token.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from inlay.recipes.miniature.media.captions import prompts_of
from inlay.recipes.miniature.media.specs import ALL_SPECS

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, RobertaTokenizer

PROMPT_TOKENS = 16
"""Tokens of a prompt with start and end token, and rows of the output of CLIP's text encoders."""
CLAP_WIDTH = 64
"""Width of the pooled vector of the miniature CLAP; AudioLDM's pipeline pads its empty prompt to as many tokens."""


def _texts() -> list[str]:
    return [text for value in ALL_SPECS for text in prompts_of(value)]


def _trained(end_of_word: str, special: list[str]) -> tuple[dict[str, int], Any]:
    """Vocabulary and merges (as pairs) of BPE over the words of the prompts."""
    suffix: dict[str, Any] = {"end_of_word_suffix": end_of_word} if end_of_word else {}
    tokenizer = Tokenizer(models.BPE(**suffix))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if end_of_word:  # CLIP drops spaces and marks the end of a word
        spaces = pre_tokenizers.Whitespace()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([spaces, tokenizer.pre_tokenizer])
    trainer = trainers.BpeTrainer(
        vocab_size=2000,  # not reached: training ends when every word is one token
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        **suffix,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [(left, right) for left, right in model["merges"]]


def make_clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer: lower case, start and end token, padded to 16 with the end token."""
    from transformers import CLIPTokenizer

    vocabulary, merges = _trained("</w>", [])
    for mark in sorted(pre_tokenizers.ByteLevel.alphabet()):  # final letters that no prompt has
        vocabulary.setdefault(f"{mark}</w>", len(vocabulary))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=PROMPT_TOKENS)


def make_roberta_tokenizer() -> RobertaTokenizer:
    """RoBERTa's tokenizer: `<s>` at the start, `</s>` at the end, padded with `<pad>`."""
    from transformers import RobertaTokenizer

    vocabulary, merges = _trained("", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLAP_WIDTH)
