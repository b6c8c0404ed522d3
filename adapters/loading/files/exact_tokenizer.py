"""Tokenizers that encode exactly as sentencepiece does (Kudo and Richardson, 2018, https://arxiv.org/abs/1808.06226).

LLaMA, Vicuna, Mistral, Gemma and T5 were trained with sentencepiece models (``tokenizer.model``). transformers 5
converts these files, or rebuilds ``tokenizer.json`` by the rules of a class, and the results differ from the original
in runs of spaces, in texts that begin with a space, and after special tokens. So each tokenizer is compared with
sentencepiece on a list of texts. If it differs, it is replaced by the published file or by a conversion of our own.

The text after a special token depends on ``legacy`` of tokenizer_config.json: a space is put before every text between
special tokens (true, or if the key is missing, as in transformers 4), or only before the whole text.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

__all__ = ["PROBES", "TokenizerWarning", "exact_tokenizer"]

PROBES = (
    "hi",
    "hi  there",
    "hi   there,    how     are      you",
    " a space in front",
    "   three in front",
    "one behind ",
    "USER: What is shown?\nASSISTANT: Two red cats, one of which (the left one) sleeps.",
    "def area(width, height):\n    if width < 0:\n        raise ValueError(width)\n    return width * height\n",
    "class A:\n    def f(self):\n        for x in self:\n            if x:\n                yield x\n",
    "\tone tab\n\t\ttwo tabs\n\n\nthree lines\r\n",
    "a\n b\n  c\n   d\n     e\n       f\n         g\n           h",
    "1 12 123 1234567 3.14159 1e-10 2024-07-26 $5.00 50%",
    "d\u00e9j\u00e0 vu, na\u00efve, \u00fcber, \u0141\u00f3d\u017a, \u0130stanbul",
    "\u6f22\u5b57 \u304b\u306a \ud55c\uad6d\uc5b4",
    "\u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f600 emoji \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 combining",
    "https://example.org/a_b?c=d&e=f#g {\"key\": [1, 2]} <tag/> `code` **bold**",
    "!!! ... ??? --- ___ *** ((( ))) [[[ ]]] ~~~",
    "CamelCase snake_case kebab-case SCREAMING_CASE mIxEd",
    "The the THE tHe",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
    " " * 31,
)  # fmt: skip
"""The texts on which tokenizers are compared."""


class TokenizerWarning(UserWarning):
    """A tokenizer differs from its sentencepiece model, and no exact one could be built."""


def exact_tokenizer(tokenizer: Any, model: Path | bytes | None, published: Path | None, legacy: bool, name: str) -> Any:
    """The tokenizer, or a replacement that encodes exactly according to the files.

    Args:
        tokenizer: a fast tokenizer, as ``AutoTokenizer`` loads it.
        model: its sentencepiece model, or the bytes of it, if there is one.
        published: tokenizer.json, if there is one; without a sentencepiece model it is the reference.
        legacy: put a space before every text between special tokens.
        name: the model's name, for the warning.

    Returns:
        The first that equals the reference, of: the published tokenizer.json, the tokenizer, our conversions.
    """
    if not getattr(tokenizer, "is_fast", False):
        return tokenizer
    as_published = None if published is None else _rebuilt(tokenizer, Tokenizer.from_file(str(published)))
    if model is None or (truth := _truth(tokenizer, model, legacy, joined=published is None)) is None:
        if as_published is None or _same(tokenizer, as_published):
            return tokenizer
        return as_published
    if as_published is None or _same(tokenizer, as_published):
        as_published = None
    makers: list[Callable[[], Any]] = [lambda: as_published, lambda: tokenizer]
    makers += [lambda order=order: _converted(tokenizer, truth, order) for order in (True, False)]  # type: ignore[misc]
    original = model.name if isinstance(model, Path) else "sentencepiece with this vocabulary"
    best, fewest = tokenizer, truth.differences(tokenizer)
    for make in makers:
        candidate = make()
        if candidate is None:
            continue
        wrong = truth.differences(candidate)
        if not wrong:
            return candidate
        if len(wrong) < len(fewest):
            best, fewest = candidate, wrong
    warnings.warn(
        f"{name}: the tokenizer encodes {len(fewest)} of {len(truth.pages)} texts differently from {original}, such as "
        f"{fewest[0]!r}; no exact tokenizer is known, so a model trained with {original} gets slightly different "
        "tokens",
        TokenizerWarning,
        stacklevel=2,
    )
    return best


@dataclass(frozen=True)
class _Truth:
    """A sentencepiece model, and its tokens for each text."""

    processor: Any
    pages: dict[str, list[int]]
    """Text to ids."""
    numbered: bool
    """Whether the tokenizer has the ids of the model; otherwise pieces are compared."""
    prefix: bool
    """Whether a space is put before a text."""
    legacy: bool

    def differences(self, tokenizer: Any) -> list[str]:
        """The texts that a tokenizer encodes differently."""
        wrong = []
        for text, ids in self.pages.items():
            found = tokenizer(text, add_special_tokens=False).input_ids
            if not self.numbered:
                found = tokenizer.convert_ids_to_tokens(found)
            if found != (ids if self.numbered else [self.processor.id_to_piece(index) for index in ids]):
                wrong.append(text)
        return wrong


def _truth(tokenizer: Any, model: Path | bytes, legacy: bool, *, joined: bool) -> _Truth | None:
    """The result of sentencepiece; None if it is not installed or the file is of another kind (tiktoken)."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        return None
    processor: Any = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model if isinstance(model, bytes) else model.read_bytes())
    except (RuntimeError, OSError):
        return None
    size = processor.vocab_size()
    numbered = all(
        tokenizer.convert_ids_to_tokens(index) == processor.id_to_piece(index)
        for index in range(size // 4, size, max(1, size // 8))
    )
    pieces = processor.encode("hi", out_type=str)
    prefix = bool(pieces) and pieces[0].startswith("\u2581")
    held = _Truth(processor, {text: processor.encode(text) for text in PROBES}, numbered, prefix, legacy)
    end = tokenizer.eos_token
    # With tokenizer.json, texts after special tokens are encoded by the rules in that file.
    if joined and end and numbered and prefix and processor.is_byte(processor.piece_to_id("<0x0A>")):
        for texts in (("hi", "USER: hi"), ("", "hi"), ("hi", " hi", "  hi"), ("yes", "\nno")):
            held.pages[end.join(texts)] = list(_joined(processor, texts, tokenizer.eos_token_id, legacy))
    return held


def _joined(processor: Any, texts: tuple[str, ...], end: int, legacy: bool) -> Iterator[int]:
    """Ids of texts with a special token between them, as LlamaTokenizer of transformers 4 encodes them."""
    head = processor.encode("\n")
    for number, text in enumerate(texts):
        if number:
            yield end
        if not text:
            continue
        if legacy or number == 0:
            yield from processor.encode(text)
        else:
            # A newline is a separate byte token, so no space is put before the text after it.
            yield from processor.encode(f"\n{text}")[len(head) :]


def _same(one: Any, other: Any) -> bool:
    """Whether two tokenizers agree on all texts, with and without special tokens between them."""
    end = one.eos_token or ""
    texts = [*PROBES, f"hi{end}USER: hi{end} hi"]
    return bool(
        one(texts, add_special_tokens=False).input_ids == other(texts, add_special_tokens=False).input_ids
        and one.decode(one(texts[0]).input_ids) == other.decode(other(texts[0]).input_ids)
    )


def _converted(tokenizer: Any, truth: _Truth, longer_first: bool) -> Any:
    """Convert a BPE model: as in sentencepiece, the pair whose merged piece has the best score is merged first.

    Args:
        tokenizer: the tokenizer, with its special tokens.
        truth: the sentencepiece model.
        longer_first: among pairs with the same merged piece, the one with the longer left part is merged first.

    Returns:
        The tokenizer; None if it is not a BPE, or has other ids.
    """
    backend = tokenizer.backend_tokenizer
    if not truth.numbered or not isinstance(backend.model, models.BPE):
        return None
    processor = truth.processor
    count = processor.vocab_size()
    vocabulary = {processor.id_to_piece(index): index for index in range(count)}
    # Replacements of placeholders in tokenizer_config.json keep their ids.
    fixed = {index for index in range(count) if processor.is_control(index) or processor.is_unknown(index)}
    merges = []
    for piece, index in vocabulary.items():
        if index in fixed or processor.is_byte(index) or processor.is_unused(index):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary and not {vocabulary[left], vocabulary[right]} & fixed:
                merges.append((-processor.get_score(index), -cut if longer_first else cut, index, left, right))
    merges.sort(key=lambda merge: merge[:3])
    core = copy.deepcopy(backend)
    core.model = models.BPE(
        vocab=vocabulary,
        merges=[(left, right) for *_, left, right in merges],
        unk_token=processor.id_to_piece(processor.unk_id()),
        fuse_unk=True,
        byte_fallback=processor.is_byte(processor.piece_to_id("<0x0A>")),
    )
    core.normalizer = normalizers.Replace(" ", "\u2581")
    scheme = "always" if truth.legacy else "first"
    # Spaces were replaced before, so the first step never finds a leading space and always adds one, which the second
    # # step replaces. A single step would not add one to a text that begins with a space.
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(" ", prepend_scheme=scheme if truth.prefix else "never", split=False),
            pre_tokenizers.Metaspace("\u2581", prepend_scheme="never", split=False),
        ]
    )
    strip = [decoders.Strip(" ", 1, 0)] if truth.prefix else []
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return _with_core(tokenizer, core)


def _rebuilt(tokenizer: Any, published: Tokenizer) -> Any:
    """The tokenizer with model and rules of the published tokenizer.json."""
    core = copy.deepcopy(tokenizer.backend_tokenizer)
    core.model, core.decoder = published.model, published.decoder
    core.normalizer, core.pre_tokenizer = published.normalizer, published.pre_tokenizer
    return _with_core(tokenizer, core)


def _with_core(tokenizer: Any, core: Tokenizer) -> Any:
    """A tokenizer of the general class, which transformers saves and loads unchanged."""
    kept = ("chat_template", "clean_up_tokenization_spaces", "model_max_length", "padding_side", "truncation_side")
    values = {name: getattr(tokenizer, name) for name in kept} | tokenizer.special_tokens_map
    values["extra_special_tokens"] = list(getattr(tokenizer, "extra_special_tokens", None) or [])
    build: Any = PreTrainedTokenizerFast
    rebuilt = build(tokenizer_object=core, name_or_path=tokenizer.name_or_path, **values)
    rebuilt.model_input_names = list(tokenizer.model_input_names)
    return rebuilt
