"""Byte-level BPE tokenizers, like GPT-2's, trained on the texts of the world.

They encode any text; each word of the world is one token. Special tokens are those of the families: LLaMA's `<unk>`,
`<s>`, `</s>`, `<pad>` with `<s>` at the start; CLIP's at the end of the vocabulary, added on both sides; OPT's; T5's.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from inlay.recipes.data.preparation.instruction_templates import QUESTION
from pretraining.language.corpus import Mix, digit_text, sample_text
from pretraining.language.corpus_layout import BLIP2_PROMPTS, SYSTEM
from pretraining.language.media_corpus import media_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }} "
    "{% elif message['role'] == 'user' %}USER: {{ message['content'] }} "
    "{% else %}ASSISTANT: {{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
SENTINELS = tuple(f"<extra_id_{number}>" for number in range(16))
"""T5's sentinels for masked spans."""
POSITIONS = 384
"""Number of position embeddings of the miniature OPT."""
_TEXTS = 3000
_MERGED_FROM = 2  # the smallest frequency of a pair that is merged


def _texts(**mixed: Any) -> list[str]:
    rng = Random(0)
    mix = Mix(lists=0.1, statements=0.1, system=0.1, talk=0.05, styles=(1, 1, 1, 1), **mixed)
    texts = [sample_text(rng, mix) for _ in range(_TEXTS)]
    texts += [digit_text(digit % 10, rng, mix) for digit in range(100)]
    return [SYSTEM] * 20 + [piece.text for text in texts for piece in text if piece.text not in {"<s>", "</s>"}]


def _media_texts() -> list[str]:
    """Texts with every word about drawings, sounds and clips, and of ModaVerse's replies."""
    rng = Random(0)
    texts = [media_text(rng, "train") for _ in range(_TEXTS)]
    return [piece.text for text in texts for piece in text if piece.text not in {"<s>", "</s>"}] + ["Modality: Prompt:"]


def train_bpe(special: list[str], texts: list[str], *, prefix_space: bool = False) -> Tokenizer:
    """Train byte-level BPE; `special` are the first tokens of the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,  # not reached: training ends when every word is one token
        min_frequency=_MERGED_FROM,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def add_words(tokenizer: Tokenizer, texts: list[str]) -> Tokenizer:
    """Add every word of the texts as one token at the end of the vocabulary; punctuation does not change.

    The new merges go from left to right and have the lowest rank, so existing one-word tokens do not change.
    """
    held = json.loads(tokenizer.to_str())
    vocabulary, merges = held["model"]["vocab"], held["model"]["merges"]
    known = set(map(tuple, merges))
    words = {word for text in texts for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)}
    for word in sorted(word for word in words if word.removeprefix("Ġ").isalpha()):
        pieces = [token.value for token in tokenizer.model.tokenize(word)]
        for piece in pieces[1:]:
            if (pieces[0], piece) not in known:
                known.add((pieces[0], piece))
                merges.append([pieces[0], piece])
            pieces[0] += piece
            vocabulary.setdefault(pieces[0], len(vocabulary))
    return Tokenizer.from_str(json.dumps(held))


def make_tokenizer(family: Literal["llama", "clip", "opt", "t5"]) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a miniature backbone.

    Args:
        family: `"llama"`: `<s>` in front, Vicuna's chat template. `"clip"`: start and end tokens, lower case. `"opt"`:
            `</s>` at the start, which is its BOS. `"t5"`: `</s>` at the end, a space before every text, sentinels.

    Returns:
        A fast tokenizer, to be saved with `save_pretrained`.
    """
    return _FAMILIES[family]()


def _llama() -> PreTrainedTokenizerFast:
    tokenizer = add_words(train_bpe(["<unk>", "<s>", "</s>", "<pad>"], _texts()), _media_texts())
    _around(tokenizer, "<s> $A", "<s>")
    return _fast(
        tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        padding_side="right",
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )


def _clip() -> PreTrainedTokenizerFast:
    tokenizer = train_bpe([], _texts())
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (start, end)])
    _around(tokenizer, f"{start} $A {end}", start, end)
    return _fast(tokenizer, bos_token=start, eos_token=end, pad_token=end, unk_token=end, model_max_length=64)


def _opt() -> PreTrainedTokenizerFast:
    tokenizer = train_bpe(["<s>", "<pad>", "</s>", "<unk>"], _texts(layout="blip2", wordings=BLIP2_PROMPTS))
    _around(tokenizer, "</s> $A", "</s>")
    named = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return _fast(tokenizer, **named, model_max_length=POSITIONS)


def _t5() -> PreTrainedTokenizerFast:
    texts = _texts(layout="blip2", wordings=QUESTION)
    tokenizer = train_bpe(["<pad>", "</s>", "<unk>", *SENTINELS], texts, prefix_space=True)
    _around(tokenizer, "$A </s>", "</s>")
    named = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return _fast(tokenizer, **named, additional_special_tokens=list(SENTINELS), model_max_length=512)


_FAMILIES = {"llama": _llama, "clip": _clip, "opt": _opt, "t5": _t5}


def _around(tokenizer: Tokenizer, single: str, *special: str) -> None:
    """Set the special tokens that are added to every text."""
    ids = [(token, tokenizer.token_to_id(token)) for token in special]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)


def _fast(tokenizer: Tokenizer, **settings: Any) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **settings
    )
