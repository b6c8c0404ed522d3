"""The port of a language model of which torch has the embeddings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_languages import DECODERS, make_language

from inlay.adapters.language.model import LanguageModel
from inlay.recipes.runtime.embedding_table import load_embedding_table
from inlay.recipes.runtime.headless import HeadlessLanguage, HeadlessModel


@pytest.fixture
def pair(tokenizer_of: Any, tmp_path: Path) -> tuple[LanguageModel, HeadlessLanguage]:
    """The whole model, and the same without its layers."""
    model = make_language(DECODERS["llama"], 400)
    tokenizer = tokenizer_of()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    whole = LanguageModel(model, tokenizer, source="a/b")
    kept = load_embedding_table(tmp_path)
    return whole, HeadlessLanguage(HeadlessModel(kept), kept.tokenizer, expected=whole.port, source="a/b")


def test_the_port_is_that_of_the_whole_model(pair: Any) -> None:
    whole, headless = pair
    assert headless.port == whole.port


def test_another_tokenizer_shows_in_the_port(pair: Any) -> None:
    whole, headless = pair
    headless.tokenizer.add_tokens(["<new>"])
    assert headless.port.tokenizer != whole.port.tokenizer


def test_sizes_and_ends_are_those_of_the_whole_model(pair: Any) -> None:
    whole, headless = pair
    for name in ("width", "context", "stop_ids", "bos_id", "pad_id", "device", "dtype"):
        assert getattr(headless, name) == getattr(whole, name), name


def test_it_is_frozen_and_has_no_head(pair: Any) -> None:
    _, headless = pair
    assert headless.model.get_output_embeddings() is None
    assert not any(parameter.requires_grad for parameter in headless.parameters())
