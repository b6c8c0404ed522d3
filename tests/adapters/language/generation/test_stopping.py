"""Ends of rows: stop tokens, stop texts, padding."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import cut_at
from inlay.adapters.language.generation.stopping import StopText, ended, single_tokens


@pytest.mark.parametrize(
    ("text", "marks", "kept"),
    [("a###b", ["###"], "a"), ("a</s>b###c", ["###", "</s>"], "a"), ("ab", ["###"], "ab"), ("ab", [], "ab")],
)
def test_text_is_cut_at_the_first_mark(text: str, marks: list[str], kept: str) -> None:
    assert cut_at(text, marks) == kept


def test_the_first_stop_token_ends_a_row_and_belongs_to_it() -> None:
    assert ended([5, 6, 1, 0, 1], {1, 9}, None) == ([5, 6, 1], "stop")
    assert ended([5, 6], {1}, None) == ([5, 6], "length")


@pytest.mark.parametrize("words", ["two cats ### and", "### x", "two cats###"])
def test_a_stop_text_ends_a_row_at_the_token_that_completes_it(tokenizer_of: Any, words: str) -> None:
    tokenizer = tokenizer_of()
    ids = tokenizer(words, add_special_tokens=False).input_ids
    row, why = ended([*ids, 5, 5], {1}, StopText(tokenizer, ["###"]))
    assert why == "stop"
    assert tokenizer.decode(row).endswith("###")


def test_a_stop_text_in_front_of_a_stop_token_comes_first(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_of()
    ids = tokenizer("a###b", add_special_tokens=False).input_ids
    row, _ = ended([*ids, tokenizer.eos_token_id], {tokenizer.eos_token_id}, StopText(tokenizer, ["###"]))
    assert tokenizer.decode(row) == "a###"


def test_stop_texts_of_one_token_are_stop_tokens(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_of()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert single_tokens(tokenizer, ["<|im_end|>", "###"]) == {end}
