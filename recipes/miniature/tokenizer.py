"""The tokenizers of the miniature backbones: byte-level BPE, as that of GPT-2, trained on the words of the world.

Any text can be encoded, and the words of the world are one token each. The language model's special tokens
follow LLaMA (`<unk>`, `<s>`, `</s>`, `<pad>`; `<s>` is added in front), CLIP's follow CLIP (at the end of the
vocabulary, added on both sides).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from inlay.recipes.miniature.corpus import SYSTEM, Mix, digit_text, sample_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }} "
    "{% elif message['role'] == 'user' %}USER: {{ message['content'] }} "
    "{% else %}ASSISTANT: {{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_TEXTS = 3000
_MERGED_FROM = 2  # a pair seen less often than this stays two tokens


def _texts() -> list[str]:
    rng = Random(0)
    mix = Mix(lists=0.1, statements=0.1, system=0.1, talk=0.05, styles=(1, 1, 1, 1))
    texts = [sample_text(rng, mix) for _ in range(_TEXTS)]
    texts += [digit_text(digit % 10, rng, mix) for digit in range(100)]
    return [SYSTEM] * 20 + [piece.text for text in texts for piece in text if piece.text not in {"<s>", "</s>"}]


def train_bpe(special: list[str]) -> Tokenizer:
    """Train byte-level BPE on the corpus, with `special` as the first tokens of the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,  # never reached: training ends when every word is one token
        min_frequency=_MERGED_FROM,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return tokenizer


def _both_ends(tokenizer: Tokenizer, bos: str, eos: str) -> None:
    ids = [(token, tokenizer.token_to_id(token)) for token in (bos, eos)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A {eos}", special_tokens=ids)


def make_tokenizer(family: Literal["llama", "clip"]) -> PreTrainedTokenizerFast:
    """Make the tokenizer of a miniature backbone.

    Args:
        family: `"llama"`: `<s>` in front, Vicuna's chat template. `"clip"`: start and end tokens, lower case.

    Returns:
        A fast tokenizer, to be saved with `save_pretrained`.
    """
    from transformers import PreTrainedTokenizerFast

    if family == "llama":
        tokenizer = train_bpe(["<unk>", "<s>", "</s>", "<pad>"])
        bos = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[bos])
        return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer,
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            padding_side="right",
            clean_up_tokenization_spaces=False,
            model_max_length=512,
            chat_template=CHAT_TEMPLATE,
        )
    tokenizer = train_bpe([])
    bos_eos = ["<|startoftext|>", "<|endoftext|>"]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in bos_eos])
    _both_ends(tokenizer, *bos_eos)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=bos_eos[0],
        eos_token=bos_eos[1],
        pad_token=bos_eos[1],
        unk_token=bos_eos[1],
        clean_up_tokenization_spaces=False,
        model_max_length=64,
    )
