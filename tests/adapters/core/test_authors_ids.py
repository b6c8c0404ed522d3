"""Ids of the published layouts with LLaMA's tokenizer, against the strings that the authors' code tokenises.

Each expected sequence is written as these strings, tokenised one by one without special tokens; where their slow
tokenizer removes the spaces beside an added token, the strings are written without them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_tokenizer import make_llama_tokenizer

from inlay.adapters.conversation.layout import Layout
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart
from inlay.adapters.core.encode import encode
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.llm_parts.signal_tokens import Signals

IMAGE, AUDIO = MediaPart("image", "x.png"), MediaPart("audio", "x.wav")
SLOTS = 3
TEXTS = [
    "###Human: <Img></Img> what? ###Assistant: two### Human: what?\n### Assistant: two\n### ###",
    "[INST] what [/INST] Modality: Prompt: two",
]
TOKENS = ["<Img>", "</Img>", "[IMG0]", "[IMG1]", "<Media>", "</Media>", "[TEXT]", "[IMAGE]"]
Expected = Callable[..., list[int]]


@pytest.fixture(params=[False, True], ids=["newer", "legacy"])
def llm(llm_of: Any, request: pytest.FixtureRequest) -> Any:
    """A language model with a tokenizer of LLaMA's style."""
    language = llm_of("llama")
    language.tokenizer = make_llama_tokenizer(legacy=request.param, texts=TEXTS, size=180)
    return language


def said(*turns: Any) -> tuple[Message, ...]:
    """User, assistant, ...; a turn is a part or a tuple of parts."""
    parts = [turn if isinstance(turn, tuple) else (turn,) for turn in turns]
    return tuple(
        Message(("user", "assistant")[n % 2], tuple(TextPart(part) if isinstance(part, str) else part for part in turn))
        for n, turn in enumerate(parts)
    )


def ids(llm: Any, *pieces: Any) -> list[int]:
    """Strings tokenised one by one; 0 stands for the slots of one medium, other numbers for themselves."""
    found: list[int] = []
    for piece in pieces:
        if isinstance(piece, str):
            found += llm.tokenizer(piece, add_special_tokens=False).input_ids
        else:
            found += [llm.pad_id] * SLOTS if piece == 0 else [piece]
    return found


def laid(llm: Any, template: str, messages: tuple[Message, ...], **more: Any) -> Any:
    return encode(messages, Layout.published(template), llm, {"image": SLOTS, "audio": SLOTS}, **more)


def labelled(row: Any) -> list[int]:
    return [int(token) for token in row.labels if token != IGNORE]


def test_minigpt4_tokenises_prompt_and_answer_apart(llm: Any) -> None:
    bos = llm.tokenizer.bos_token_id
    row = laid(llm, "minigpt4", said((IMAGE, "what?"), "two"))
    assert row.ids.tolist() == ids(llm, bos, "###Human: <Img>", 0, "</Img> what? ###Assistant: ", "two###")
    assert labelled(row) == ids(llm, "two###")
    answer = len(row.ids) - len(labelled(row))
    before, first = llm.tokenizer.convert_ids_to_tokens(row.ids[answer - 1 : answer + 1].tolist())
    assert (before, first[0]) == ("▁", "▁")


def test_minigpt4_asks_with_the_ids_it_was_trained_with(llm: Any) -> None:
    trained = laid(llm, "minigpt4", said((IMAGE, "what?"), "two"))
    asked = laid(llm, "minigpt4", said((IMAGE, "what?")), generation=True)
    assert asked.ids.tolist() == trained.ids.tolist()[: -len(labelled(trained))]


def test_minigpt4_on_llama2_tokenises_prompt_and_answer_apart(llm: Any) -> None:
    tokenizer = llm.tokenizer
    row = laid(llm, "minigpt4_llama2", said((IMAGE, "what?"), "two"))
    before = ids(llm, tokenizer.bos_token_id, "[INST] <Img>", 0, "</Img> what? [/INST] ")
    assert row.ids.tolist() == [*before, *ids(llm, "two"), tokenizer.eos_token_id]


def test_nextgpt_has_no_space_around_a_medium_and_tokenises_the_answer_apart(llm: Any) -> None:
    llm.tokenizer.add_tokens(TOKENS, special_tokens=True)
    bos = llm.tokenizer.bos_token_id
    row = laid(llm, "nextgpt", said((IMAGE, "what?"), "two"))
    asked = ("### Human:", "<Img>", 0, "</Img>", "what?\n### Assistant: ")
    assert row.ids.tolist() == ids(llm, bos, *asked, "two\n###")
    assert labelled(row) == ids(llm, "two\n###")


def test_nextgpt_keeps_the_spaces_around_img_where_that_is_text(llm: Any) -> None:
    row = laid(llm, "nextgpt", said((IMAGE, "what?"), "two"))
    asked = ("### Human: <Img>", 0, "</Img> what?\n### Assistant: ")
    assert row.ids.tolist() == ids(llm, llm.tokenizer.bos_token_id, *asked, "two\n###")


def test_nextgpt_tokenises_the_words_of_the_first_turn_apart(llm: Any) -> None:
    bos = llm.tokenizer.bos_token_id
    row = laid(llm, "nextgpt", said("what?", "two", "what?", "yes"))
    first = ("### Human: ", "what?\n### Assistant: ", "two\n### Human: what?\n### Assistant: ")
    assert row.ids.tolist() == ids(llm, bos, *first, "yes\n###")


def test_nextgpt_ends_an_answer_behind_signal_tokens_without_a_newline(llm: Any) -> None:
    llm.tokenizer.add_tokens(TOKENS, special_tokens=True)
    signals = Signals({"image": ("[IMG0]", "[IMG1]")})
    row = laid(llm, "nextgpt", said("what?", ("two", MadePart("image", "two"))), signals=signals)
    assert labelled(row) == ids(llm, "two", "[IMG0]", "[IMG1]", "###")


def test_modaverse_has_no_space_between_human_and_the_medium(llm: Any) -> None:
    llm.tokenizer.add_tokens(TOKENS, special_tokens=True)
    bos = llm.tokenizer.bos_token_id
    row = laid(llm, "modaverse", said((IMAGE, "what?")), generation=True)
    media = ("<Media>", 0, "</Media>")
    assert row.ids.tolist() == ids(llm, bos, "### Human:", *media, "what?\n### Assistant:")
    row = laid(llm, "modaverse", said((IMAGE, AUDIO, "what?")), generation=True)
    assert row.ids.tolist() == ids(llm, bos, "### Human:", *media, *media, "what?\n### Assistant:")


def test_modaverse_has_two_spaces_where_the_media_would_be(llm: Any) -> None:
    row = laid(llm, "modaverse", said("what?"), generation=True)
    assert row.ids.tolist() == ids(llm, llm.tokenizer.bos_token_id, "### Human:  what?\n### Assistant:")


def test_modaverse_learns_the_target_as_its_authors_tokenise_it(llm: Any) -> None:
    llm.tokenizer.add_tokens(TOKENS, special_tokens=True)
    row = laid(llm, "modaverse", said((IMAGE, "what?"), "two"))
    assert labelled(row) == ids(llm, "Modality: [TEXT] Prompt: two ###")


def test_instructblip_has_the_end_token_as_bos(llm: Any) -> None:
    end = llm.tokenizer.eos_token_id
    row = laid(llm, "instructblip", said((IMAGE, "what?"), "two"))
    assert row.ids.tolist() == ids(llm, 0, end, "what?", "two", end)
    assert laid(llm, "instructblip", said("what?"), generation=True).ids.tolist() == ids(llm, end, "what?")
    assert llm.tokenizer.bos_token_id not in row.ids.tolist()


def test_blip2_keeps_the_tokenizers_bos(llm: Any) -> None:
    row = laid(llm, "blip2", said((IMAGE, "what?")), generation=True)
    assert row.ids.tolist() == ids(llm, 0, llm.tokenizer.bos_token_id, "what?")


def test_llava_has_no_newline_behind_an_image_that_is_alone(llm: Any) -> None:
    bos, end = llm.tokenizer.bos_token_id, llm.tokenizer.eos_token_id
    row = laid(llm, "vicuna_v1", said(IMAGE, "two"))
    assert row.ids.tolist() == ids(llm, bos, "USER: ", 0, " ASSISTANT: two", end)
    row = laid(llm, "vicuna_v1", said((IMAGE, " what? \n"), "two"))
    assert row.ids.tolist() == ids(llm, bos, "USER: ", 0, "\nwhat? ASSISTANT: two", end)


@pytest.mark.parametrize("template", ["minigpt4", "minigpt4_llama2", "nextgpt", "modaverse"])
def test_other_tokenizers_have_one_space_between_words(llm_of: Any, template: str) -> None:
    language = llm_of("llama")
    row = laid(language, template, said((IMAGE, "what?"), "two"))
    text = language.tokenizer.decode(row.ids[~row.slots])
    assert "  " not in text
    assert not language.tokenizer.decode(row.ids[: len(row.ids) - len(labelled(row))]).endswith(" ")
    assert language.tokenizer.decode(labelled(row))[:1] == " "
