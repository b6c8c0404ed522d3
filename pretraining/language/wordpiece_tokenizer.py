"""The tokenizer of the miniature BERT: WordPiece in lower case, as BERT's (https://arxiv.org/abs/1810.04805).

The vocabulary is a list, not learnt: special tokens, every printable ASCII character alone and as a continuation, and
every word of the world and its prompts. So a word of the world is one token, other words are spelled, and characters
outside ASCII, after accents are stripped, are `[UNK]`. Like BERT's, the vocabulary has no `[DEC]`.
"""

from __future__ import annotations

import string
from random import Random
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from inlay.recipes.data.preparation.instruction_templates import CAPTION, DESCRIBE, QUESTION
from inlay.recipes.miniature.world.questions import questions
from inlay.recipes.miniature.world.scenes import sample_scene
from pretraining.language.corpus import Mix, digit_text, sample_text
from pretraining.language.corpus_layout import SHORT_ANSWER, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import BertTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
POSITIONS = 64  # the longest text of the miniature BERT, in tokens
_TEXTS = 3000


def _texts() -> Iterator[str]:
    """Texts, questions and prompts of the world, with each word many times."""
    yield from (SYSTEM, SHORT_ANSWER, *CAPTION, *DESCRIBE, *(text.replace("{}", "") for text in QUESTION))
    rng = Random(0)
    mix = Mix(lists=0.1, statements=0.1, system=0.1, talk=0.05, styles=(1, 1, 1, 1))
    digits = [digit_text(digit % 10, rng, mix) for digit in range(50)]
    for dialogue in [*(sample_text(rng, mix) for _ in range(_TEXTS)), *digits]:
        yield from (piece.text for piece in dialogue if piece.text not in {"<s>", "</s>"})
    for _ in range(_TEXTS // 10):
        for question in questions(sample_scene(rng), rng):
            yield from (question.text, question.answer)


def _words() -> set[str]:
    split = pre_tokenizers.BertPreTokenizer()
    return {word for text in _texts() for word, _ in split.pre_tokenize_str(text.lower())}


def make_wordpiece() -> BertTokenizer:
    """Build the tokenizer."""
    from transformers import BertTokenizer

    marks = [mark for mark in string.printable if not mark.isspace() and not mark.isupper()]
    pieces = [*SPECIAL, *marks, *(f"##{mark}" for mark in string.ascii_lowercase + string.digits)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys([*pieces, *sorted(_words())]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    around = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=around
    )
    return BertTokenizer(tokenizer_object=tokenizer, model_max_length=POSITIONS, clean_up_tokenization_spaces=False)
