"""Generation stops exactly where the labels of an answer end, for every template and style of chat template."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.segments import Segment, Text
from inlay.adapters.conversation.template import Dialogue, Template, answer
from inlay.adapters.conversation.templates.registry import TEMPLATES, register_template
from inlay.adapters.conversation.turn_end import TurnEnd, turn_end
from inlay.adapters.core.encode import encode
from inlay.adapters.language.labels import IGNORE

STYLES = {
    "qwen2.5": "<|im_end|>",
    "smollm2": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "llama3.1": "<|eot_id|>",
    "llama3.2": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "phi3": "<|end|>",
}


def dialogue(*answers: str) -> tuple[Message, ...]:
    turns: list[Message] = []
    for number, text in enumerate(answers):
        picture = (MediaPart("image", "x.png"),) if number == 0 else ()
        turns.append(Message("user", (*picture, TextPart(f"question {number}?"))))
        turns.append(Message("assistant", (TextPart(text),)))
    return tuple(turns)


def labelled_answers(labels: list[int]) -> list[list[int]]:
    """The labelled tokens of each answer."""
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != IGNORE:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def stopped_at(tokens: list[int], end: TurnEnd, tokenizer: Any) -> int | None:
    """Number of tokens that generation writes if the model writes these."""
    for count in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:count], skip_special_tokens=True)
        if tokens[count - 1] in end.ids or any(mark in text for mark in end.texts):
            return count
    return None


def check(llm: Any, layout: Layout) -> TurnEnd:
    end = turn_end(layout, llm.tokenizer)
    answers = ("two red cats.", "yes", "no, it is not")
    # The template plain leaves questions out, so that answers of one conversation are one run.
    talks = [dialogue(*answers)] if layout.template != "plain" else [dialogue(text) for text in answers]
    rows = [encode(talk, layout, llm, {"image": 2}) for talk in talks]
    runs = [run for row in rows for run in labelled_answers(row.labels.tolist())]
    assert len(runs) == 3
    assert [stopped_at(run, end, llm.tokenizer) for run in runs] == [len(run) for run in runs]
    return end


@pytest.mark.parametrize("style", STYLES)
def test_a_chat_ends_at_the_token_that_ends_the_models_turns(llm_of: Any, styled: Any, style: str) -> None:
    llm = llm_of("llama")
    styled(llm.tokenizer, style)
    end = check(llm, Layout(template="chat"))
    assert end == TurnEnd((llm.tokenizer.convert_tokens_to_ids(STYLES[style]),), ())


@pytest.mark.parametrize("family", ["llama", "opt", "qwen2"])
@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "chat"])
def test_labels_of_every_template_end_where_generation_stops(llm_of: Any, template: str, family: str) -> None:
    llm = llm_of(family)
    published = check(llm, Layout.published(template))
    assert check(llm, Layout(template=template)) == published  # the end is the template's, not a choice


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "chat"])
def test_a_tokenizer_of_sentencepiece_ends_where_generation_stops(
    llm_of: Any, metaspace_tokenizer_of: Any, template: str
) -> None:
    llm = llm_of("llama")
    llm.tokenizer = metaspace_tokenizer_of()
    assert llm.tokenizer("a\n").input_ids != llm.tokenizer("a").input_ids
    check(llm, Layout(template=template))


@pytest.mark.parametrize("style", STYLES)
def test_a_chat_with_a_tokenizer_of_sentencepiece_ends_there_too(
    llm_of: Any, metaspace_tokenizer_of: Any, styled: Any, style: str
) -> None:
    llm = llm_of("llama")
    llm.tokenizer = styled(metaspace_tokenizer_of(), style)
    llm.tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    check(llm, Layout(template="chat"))


@pytest.mark.parametrize(
    ("template", "texts"),
    [("vicuna_v1", ()), ("plain", ("\n",)), ("blip2", ("\n",)), ("nextgpt", ("###",)), ("modaverse", ("###",))],
)
def test_the_end_is_a_token_or_a_text(llm_of: Any, template: str, texts: tuple[str, ...]) -> None:
    llm = llm_of("llama")
    end = turn_end(Layout.published(template), llm.tokenizer)
    assert end.texts == texts
    if template == "vicuna_v1":
        assert end.ids == (llm.tokenizer.eos_token_id,)
    if template in ("plain", "blip2"):
        assert end.ids == (llm.tokenizer("\n", add_special_tokens=False).input_ids[0],)


def test_stop_texts_of_the_layout_end_an_answer_too(llm_of: Any) -> None:
    llm = llm_of("llama")
    end = turn_end(Layout(template="vicuna_v1", stop=("STOP!",)), llm.tokenizer)
    assert end == TurnEnd((llm.tokenizer.eos_token_id,), ("STOP!",))


def test_a_registered_template_ends_where_it_says(llm_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TEMPLATES, "own", TEMPLATES["plain"])
    del TEMPLATES["own"]

    def own(dialogue: Dialogue) -> list[Segment]:
        laid: list[Segment] = []
        for message in dialogue.turns:
            laid += answer(message, "<END>") if message.role == "assistant" else [Text(f"Q {message.text} A")]
        return laid

    register_template("own", Template(own))
    assert check(llm_of("llama"), Layout(template="own")).texts == ("<END>",)
