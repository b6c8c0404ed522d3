"""Chat templates in the style of published models, as text, and tokenizers that have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_tokenizer import make_llama_tokenizer
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


@pytest.fixture
def metaspace_tokenizer_of() -> Callable[[], PreTrainedTokenizerFast]:
    return make_llama_tokenizer


@pytest.fixture
def styled() -> Callable[[Any, str], Any]:
    return with_chat_template


@pytest.fixture(autouse=True)
def no_warning_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are given once a process; each test starts anew."""
    monkeypatch.setattr(layout, "_warned", set())
