"""Chat templates in the style of published models, as text, and tokenizers that have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from inlay.adapters.conversation import layout

FOLDER = Path(__file__).parent / "chat_templates"
TOKENS = {
    "qwen2.5": ["<|endoftext|>"],
    "smollm2": ["<|endoftext|>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "llama3.1": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "llama3.2": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>", "\n", "\n\n"],
    "mistral": ["[INST]", "[/INST]"],
    "phi3": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"],
}
"""Model to the special tokens that its chat template writes, besides those of the tests' own tokenizer."""


def with_chat_template(tokenizer: Any, model: str) -> Any:
    """The tokenizer with a model's chat template and special tokens; a base model's EOS differs from its turn end."""
    tokenizer.add_tokens(TOKENS[model], special_tokens=True)
    tokenizer.chat_template = (FOLDER / f"{model}.jinja").read_text()
    if "<|endoftext|>" in TOKENS[model]:
        tokenizer.eos_token = "<|endoftext|>"
    return tokenizer


def make_metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer in the style of SentencePiece: ``▁`` for spaces, one in front, bytes for unknown characters."""
    words = ["USER: what colour is the large circle? ASSISTANT: two red cats. yes, no, it is not"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.train_from_iterator(words, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    learnt = json.loads(core.to_str())["model"]
    vocabulary = {token: index for index, token in enumerate([*learnt["vocab"], *(f"<0x{n:02X}>" for n in range(256))])}
    merges = [tuple(merge) for merge in learnt["merges"]]
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    core = tokenizer.backend_tokenizer
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return tokenizer


@pytest.fixture
def metaspace_tokenizer_of() -> Callable[[], PreTrainedTokenizerFast]:
    return make_metaspace_tokenizer


@pytest.fixture
def styled() -> Callable[[Any, str], Any]:
    return with_chat_template


@pytest.fixture(autouse=True)
def no_warning_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are given once a process; each test starts anew."""
    monkeypatch.setattr(layout, "_warned", set())
