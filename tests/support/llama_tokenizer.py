"""A tokenizer in the style of LLaMA's: ``▁`` for spaces, one in front, bytes for unknown characters.

The published tokenizers come in two kinds. The older ones put a ``▁`` in front of every text between added tokens, the
newer ones (``legacy=False``) in front of the whole string only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["make_llama_tokenizer"]

WORDS = ["USER: what colour is the large circle? ASSISTANT: two red cats. yes, no, it is not"]


def make_llama_tokenizer(
    *, legacy: bool = False, texts: Sequence[str] = (), bos: str = "<s>", eos: str = "</s>", size: int = 120
) -> PreTrainedTokenizerFast:
    """A tokenizer that is trained on a few words and puts BOS first.

    Args:
        legacy: put a space in front of every text between added tokens.
        texts: more texts to learn from.
        bos: the BOS token.
        eos: the EOS token.
        size: pieces to learn at most.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.train_from_iterator([*WORDS, *texts], trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learnt = json.loads(core.to_str())["model"]
    vocabulary = {token: index for index, token in enumerate([*learnt["vocab"], *(f"<0x{n:02X}>" for n in range(256))])}
    merges = [tuple(merge) for merge in learnt["merges"]]
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always" if legacy else "first", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    named = {"bos_token": bos, "eos_token": eos, "pad_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **named)  # type: ignore[no-untyped-call]
    core = tokenizer.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
    )
    return tokenizer
