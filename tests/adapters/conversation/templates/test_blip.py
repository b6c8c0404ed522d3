"""Layouts of the BLIP family: the rendered text, what is trained on, and where BOS stands."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout, LayoutError, LayoutWarning, Media, Text, segments
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.core.encode import encode
from inlay.adapters.language.labels import IGNORE

IMAGE = MediaPart("image", "x.png")


def turns(*texts: str, media: tuple[MediaPart, ...] = (IMAGE,)) -> tuple[Message, ...]:
    """User, assistant, user, ...; the media stand in the first turn."""
    roles = ("user", "assistant")
    return tuple(
        Message(roles[index % 2], (*(media if index == 0 else ()), *([TextPart(text)] if text else [])))
        for index, text in enumerate(texts)
    )


def rendered(laid: list[Any]) -> str:
    return "".join("<image>" if isinstance(segment, Media) else segment.text for segment in laid)


def trained(laid: list[Any]) -> str:
    return "|".join(segment.text for segment in laid if isinstance(segment, Text) and segment.trained and segment.text)


@pytest.mark.parametrize(
    ("template", "messages", "text", "labels"),
    [
        ("blip2", turns("", "a red circle"), "<image>a red circle\n", "a red circle|\n"),
        ("blip2", turns("what?", "red"), "<image>what? red\n", " |red|\n"),
        ("blip2", turns("what? ", "red", "sure?", "yes"), "<image>what? red\nsure? yes\n", " |red|\n| |yes|\n"),
        ("instructblip", turns("what?", "red"), "<image>what? red</s>", " |red|</s>"),
        ("plain", turns("what?", "red"), "<image>red\n", "red|\n"),
        (
            "minigpt4",
            turns("what?", "red"),
            "###Human: <Img><image></Img> what? ###Assistant: red###",
            " |red|###",
        ),
        (
            "minigpt4",
            turns("what?", "red", "sure?", "yes"),
            "###Human: <Img><image></Img> what? ###Assistant: red###Human: sure? ###Assistant: yes###",
            " |red|###| |yes|###",
        ),
        ("minigpt4_llama2", turns("what?", "red"), "[INST] <Img><image></Img> what? [/INST] red</s>", " |red|</s>"),
        (
            "minigpt4_llama2",
            turns("what?", "red", "sure?", "yes"),
            "[INST] <Img><image></Img> what? [/INST] red</s><s>[INST] sure? [/INST] yes</s>",
            " |red|</s>| |yes|</s>",
        ),
    ],
)
def test_template_gives_the_published_text_and_trains_on_answers_and_their_ends(
    tokenizer_of: Any, template: str, messages: Any, text: str, labels: str
) -> None:
    laid = segments(Layout.published(template), messages, tokenizer_of())
    assert rendered(laid) == text
    assert trained(laid) == labels


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("blip2", "<image>what?"),
        ("instructblip", "<image>what?"),
        ("minigpt4", "###Human: <Img><image></Img> what? ###Assistant:"),
        ("minigpt4_llama2", "[INST] <Img><image></Img> what? [/INST]"),
    ],
)
def test_prompt_ends_where_the_answer_begins_without_a_space(tokenizer_of: Any, template: str, prompt: str) -> None:
    laid = segments(Layout.published(template), turns("what?"), tokenizer_of(), generation=True)
    assert rendered(laid) == prompt
    assert trained(laid) == ""


def test_media_of_later_turns_stand_in_front_too(tokenizer_of: Any) -> None:
    first, second = MediaPart("image", "1.png"), MediaPart("image", "2.png")
    later = Message("user", (second, TextPart("and here?")))
    messages = (*turns("what?", "red", media=(first,)), later, Message("assistant", (TextPart("blue"),)))
    with pytest.warns(LayoutWarning, match="all media before"):
        laid = segments(Layout.published("blip2"), messages, tokenizer_of())
    assert [segment.part for segment in laid[:2]] == [first, second]
    assert rendered(laid[2:]) == "what? red\nand here? blue\n"


def test_minigpt4_takes_a_system_sentence(tokenizer_of: Any) -> None:
    for template, start in {"minigpt4": "Look.###Human: <Img>", "minigpt4_llama2": "[INST] Look. <Img>"}.items():
        laid = segments(Layout.published(template, system="Look."), turns("what?", "red"), tokenizer_of())
        assert rendered(laid).startswith(start)


@pytest.mark.parametrize("template", ["blip2", "instructblip", "minigpt4", "vicuna_v1", "chat"])
def test_every_template_puts_the_users_words_into_the_layouts_prompt(tokenizer_of: Any, template: str) -> None:
    layout = Layout(template=template, prompt="Question: {} Short answer:")
    laid = segments(layout, turns("what?", "red"), tokenizer_of())
    assert "Question: what? Short answer:" in rendered(laid)


def test_a_prompt_without_a_hole_leaves_the_users_words_out(tokenizer_of: Any) -> None:
    layout = Layout.published("blip2", prompt="a photo of")
    assert rendered(segments(layout, turns("Describe it.", "a cat"), tokenizer_of())) == "<image>a photo of a cat\n"


def test_a_hole_that_people_write_stays_theirs(tokenizer_of: Any) -> None:
    laid = segments(Layout.published("blip2", prompt="Q: {} A:"), turns("what is {}?", "braces"), tokenizer_of())
    assert rendered(laid) == "<image>Q: what is {}? A: braces\n"


@pytest.mark.parametrize(
    ("bos", "place"), [("first", [1, 0, 0, 0]), ("after_media", [0, 0, 0, 1]), ("none", [0, 0, 0, 0])]
)
def test_bos_stands_where_the_layout_says(llm_of: Any, bos: Any, place: list[int]) -> None:
    llm = llm_of("opt")
    row = encode(turns("what?", "red"), Layout(template="blip2", bos=bos), llm, {"image": 3})
    assert [int(token == llm.bos_id) for token in row.ids[:4].tolist()] == place
    assert int(row.slots.sum()) == 3
    assert int((row.ids == llm.bos_id).sum()) == sum(place)


@pytest.mark.parametrize("bos", ["first", "after_media"])
def test_without_media_bos_is_first_either_way(llm_of: Any, bos: Any) -> None:
    llm = llm_of("llama")
    row = encode(turns("what?", "red", media=()), Layout(template="instructblip", bos=bos), llm, {})
    assert row.ids.tolist() == llm.tokenizer("</s>what? red</s>", add_special_tokens=False).input_ids


def test_a_tokenizer_without_bos_gets_none_behind_the_media(llm_of: Any) -> None:
    llm = llm_of("qwen2")
    row = encode(turns("what?", "red"), Layout.published("blip2"), llm, {"image": 3})
    assert row.ids[3:].tolist() == llm.tokenizer("what? red\n").input_ids


def test_unknown_place_of_bos_names_those_that_exist() -> None:
    with pytest.raises(LayoutError, match="'first', 'after_media' or 'none'"):
        Layout(template="plain", bos="last")


def test_published_layouts_carry_their_stop_texts_and_bos() -> None:
    found = {name: (Layout.published(name).bos, Layout.published(name).stop) for name in ("plain", "blip2", "minigpt4")}
    assert found == {"plain": ("first", ("\n",)), "blip2": ("after_media", ("\n",)), "minigpt4": ("first", ("###",))}
    with pytest.raises(LayoutError, match="alpaca"):
        Layout.published("alpaca")


@pytest.mark.parametrize("template", ["blip2", "instructblip", "minigpt4", "minigpt4_llama2"])
def test_what_people_write_never_becomes_an_end_token(llm_of: Any, template: str) -> None:
    llm = llm_of("llama")
    row = encode(turns("is </s> here?", "an </s> end"), Layout.published(template), llm, {"image": 2})
    published = llm.tokenizer.decode([int(token) for token in row.labels if token != IGNORE])
    assert published.strip().startswith("an </s> end")
    by_template = {"instructblip": 2, "minigpt4_llama2": 1}.get(template, 0)  # InstructBLIP's BOS is </s> too
    assert row.ids.tolist().count(llm.tokenizer.eos_token_id) == by_template


INTERLEAVED = (TextPart("A:"), IMAGE, TextPart("B:"), IMAGE, TextPart("which"), TextPart("one?"))


def test_minigpt4_keeps_media_where_the_user_put_them(tokenizer_of: Any) -> None:
    for template, around in {"minigpt4": "###Human: {} ###Assistant:", "minigpt4_llama2": "[INST] {} [/INST]"}.items():
        laid = segments(Layout.published(template), (Message("user", INTERLEAVED),), tokenizer_of(), generation=True)
        assert rendered(laid) == around.format("A: <Img><image></Img> B: <Img><image></Img> which one?")


@pytest.mark.parametrize("template", ["blip2", "instructblip"])
def test_blip2_warns_once_that_media_are_moved_to_the_front(tokenizer_of: Any, template: str) -> None:
    messages = (Message("user", INTERLEAVED),)
    with pytest.warns(LayoutWarning, match="all media before all words"):
        laid = segments(Layout.published(template), messages, tokenizer_of(), generation=True)
    assert rendered(laid) == "<image><image>A: B: which one?"
    segments(Layout.published(template), messages, tokenizer_of(), generation=True)  # a second warning is an error


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("blip2", "<image>what?\nsure? yes\n"),
        ("instructblip", "<image>what?</s>sure? yes</s>"),
        ("minigpt4", "###Human: <Img><image></Img> what? ###Assistant:###Human: sure? ###Assistant: yes###"),
        ("minigpt4_llama2", "[INST] <Img><image></Img> what? [/INST]</s><s>[INST] sure? [/INST] yes</s>"),
    ],
)
def test_an_empty_answer_is_history_without_loss(tokenizer_of: Any, template: str, text: str) -> None:
    asked, _, again, last = turns("what?", "red", "sure?", "yes")
    laid = segments(Layout.published(template), (asked, Message("assistant", ()), again, last), tokenizer_of())
    assert rendered(laid) == text
    assert trained(laid).startswith(" |yes|")


@pytest.mark.parametrize("template", ["minigpt4", "minigpt4_llama2"])
def test_a_medium_alone_has_one_space_behind_it(tokenizer_of: Any, template: str) -> None:
    laid = segments(Layout.published(template), (Message("user", (IMAGE,)),), tokenizer_of(), generation=True)
    assert "</Img> [" in rendered(laid) or "</Img> #" in rendered(laid)
    assert "  " not in rendered(laid)
