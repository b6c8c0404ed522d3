"""Special tokens that people write are plain text, and no token for a space stands around them."""

from __future__ import annotations

from typing import Any

import pytest
from llama_tokenizer import make_llama_tokenizer
from transformers import AddedToken

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.conversation.segments import Text
from inlay.adapters.core.encode import encode
from inlay.adapters.core.tokenise import tokenise
from inlay.adapters.language.labels import IGNORE


class Llm:
    """As much of a language model as tokenising needs."""

    context = None

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos_id, self.pad_id = tokenizer.bos_token_id, tokenizer.pad_token_id

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return tuple(sorted(self.tokenizer.get_added_vocab(), key=len, reverse=True))

    def arrange(self, laid: Any, *, generation: bool) -> tuple[Any, None]:
        return list(laid), None


def talk(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(("user", "assistant")[n % 2], (TextPart(text),)) for n, text in enumerate(texts))


def tokens(llm: Any, ids: Any) -> list[str]:
    return list(llm.tokenizer.convert_ids_to_tokens([int(token) for token in ids]))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        ("is </s> red?", "two"),
        ("</s>", "</s></s> no </s>"),
        ("what is </s>", "yes", "and</s>it?", "not </s> it"),
        ("is it <s>?", "no", "is it </s> ?", "yes"),
    ],
)
def test_a_special_token_in_a_message_is_read_as_by_a_tokenizer_that_does_not_know_it(
    legacy: bool, said: tuple[str, ...]
) -> None:
    ours = Llm(make_llama_tokenizer(legacy=legacy))
    # The same pieces; only its special tokens have names that nobody writes.
    other = make_llama_tokenizer(legacy=legacy, bos="<begin>", eos="<end>")
    turns = [f" {text}<end>" if n % 2 else f"USER: {text} ASSISTANT:" for n, text in enumerate(said)]
    expected = tokens(Llm(other), other("".join(turns)).input_ids)
    row = encode(talk(*said), Layout(template="vicuna_v1"), ours, {})
    assert tokens(ours, row.ids) == [{"<begin>": "<s>", "<end>": "</s>"}.get(token, token) for token in expected]


@pytest.mark.parametrize("legacy", [False, True])
def test_labels_cover_the_answer_and_the_end_that_the_template_wrote(legacy: bool) -> None:
    llm = Llm(make_llama_tokenizer(legacy=legacy))
    row = encode(talk("is </s> it?", "no </s> it is"), Layout(template="vicuna_v1"), llm, {})
    labels = [int(token) for token in row.labels if token != IGNORE]
    assert llm.tokenizer.decode(labels) == "no </s> it is</s>"
    assert labels.count(llm.tokenizer.eos_token_id) == 1


def test_white_space_that_a_special_token_takes_is_taken_there_too() -> None:
    tokenizer = make_llama_tokenizer()
    tokenizer.add_tokens([AddedToken("<turn>", special=True, normalized=False, rstrip=True, lstrip=True)])
    llm: Any = Llm(tokenizer)
    around = [Text("USER: "), Text("two </s> ", literal=False), Text(" <turn>\n"), Text("yes", literal=False)]
    ids, _ = tokenise(around, llm)
    expected = tokenizer("USER: two </s>", add_special_tokens=False, split_special_tokens=True).input_ids
    assert tokens(llm, ids) == [*tokens(llm, expected), "<turn>", *tokens(llm, ids[len(expected) + 1 :])]
    assert tokenizer.decode(ids[len(expected) + 1 :]) == "yes"


def test_a_special_token_that_template_and_message_spell_together_is_text() -> None:
    llm: Any = Llm(make_llama_tokenizer())
    ids, _ = tokenise([Text("two <"), Text("/s>", literal=False)], llm)
    assert llm.tokenizer.eos_token_id not in ids
    assert llm.tokenizer.decode(ids) == "two </s>"


def test_text_apart_is_a_string_of_its_own() -> None:
    llm: Any = Llm(make_llama_tokenizer())
    ids, trained = tokenise([Text("USER: "), Text("two", trained=True, apart=True), Text(".", trained=True)], llm)
    assert tokens(llm, ids) == ["▁USER:", "▁", "▁two", "."]
    assert trained == [False, False, True, True]
