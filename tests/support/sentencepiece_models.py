"""Sentencepiece models that are trained in a second, with LLaMA's settings or T5's."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

__all__ = ["TEXTS", "write_sentencepiece"]

TEXTS = [
    "USER: what colour is the large circle? ASSISTANT: two red cats. yes, no, it is not",
    "A chat between a curious user and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "def area(width, height):\n    if width < 0:\n        raise ValueError(width)\n    return width * height",
    "class Table:\n    def rows(self):\n        for row in self.held:\n            yield row\n                # deep",
    "hi  there,   how    are     you      today?        fine",
    "1 12 123 2024 3.14 ( [ { } ] ) a-b a_b 'it' \"that\"",
]
"""Words, code with indentation, runs of spaces, numbers."""


def write_sentencepiece(path: Path, *, kind: str = "bpe", size: int = 420) -> Path:
    """Train a model and write it.

    Args:
        path: of the file, such as ``tokenizer.model``.
        kind: ``bpe`` with bytes for unknown characters, as of LLaMA, or ``unigram``, as of T5.
        size: pieces, the 256 bytes included.
    """
    file = io.BytesIO()
    llama = {
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "split_digits": True,
    }
    t5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "hard_vocab_limit": False}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in TEXTS * 20 for line in text.split("\n")),
        model_writer=file,
        model_type=kind,
        vocab_size=size,
        minloglevel=2,
        num_threads=1,
        **(llama if kind == "bpe" else t5),
    )
    path.write_bytes(file.getvalue())
    return path
