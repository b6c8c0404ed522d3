"""Layouts in which the assistant makes media: the rendered text, what is trained on, signal tokens as tokens."""

from __future__ import annotations

from typing import Any

import pytest

from inlay.adapters.conversation.layout import Layout, LayoutError, Media, Text, segments
from inlay.adapters.conversation.messages import MadePart, MediaPart, Message, TextPart, made_of
from inlay.adapters.core.encode import encode
from inlay.adapters.language.labels import IGNORE
from inlay.adapters.llm_parts.signal_tokens import Signals, mark, unmark

SIGNALS = {"image": ("[IMG0]", "[IMG1]"), "audio": ("[AUD0]",)}
IMAGE, AUDIO = MediaPart("image", "x.png"), MediaPart("audio", "x.wav")
DISC, BEEP = MadePart("image", "a disc"), MadePart("audio", "a beep")


def talk(*turns: tuple[Any, ...]) -> tuple[Message, ...]:
    """User, assistant, user, ...; texts and parts."""
    roles = ("user", "assistant")
    return tuple(
        Message(roles[n % 2], tuple(TextPart(part) if isinstance(part, str) else part for part in turn))
        for n, turn in enumerate(turns)
    )


def laid(template: str, *turns: tuple[Any, ...], **fields: Any) -> list[Any]:
    layout, messages = Layout.published(template, **fields), talk(*turns)
    if template == "modaverse":
        return segments(layout, messages, FakeTokenizer())
    return unmark(segments(layout, mark(messages), FakeTokenizer()), made_of(messages), Signals(SIGNALS))[0]


class FakeTokenizer:
    eos_token = "</s>"
    bos_token = "<s>"

    def tokenize(self, text: str) -> list[str]:
        return [text]

    def get_added_vocab(self) -> dict[str, int]:
        return {}


def rendered(parts: list[Any]) -> str:
    return "".join(f"({part.part.modality})" if isinstance(part, Media) else part.text for part in parts)


def trained(parts: list[Any]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text) and part.trained)


def test_nextgpt_keeps_media_where_they_were_said() -> None:
    parts = laid("nextgpt", ("compare", IMAGE, " with", AUDIO), ("they differ",), ("why?",), ("so",))
    assert rendered(parts) == (
        "### Human: compare <Img>(image)</Img> with <Img>(audio)</Img>\n### Assistant: they differ\n###"
        " Human: why?\n### Assistant: so\n###"
    )
    assert trained(parts) == " they differ\n### so\n###"


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (("Here it is.", DISC), " Here it is.[IMG0][IMG1]"),
        ((DISC,), " [IMG0][IMG1]"),
        ((DISC, " and", BEEP), " [IMG0][IMG1] and[AUD0]"),
    ],
)
def test_signal_tokens_stand_for_what_is_made(turn: tuple[Any, ...], said: str) -> None:
    assert trained(laid("nextgpt", ("draw",), turn)) == said + "\n###"
    assert trained(laid("vicuna_v1", ("draw",), turn)) == said + "</s>"


def test_a_layout_prompt_stands_behind_the_media() -> None:
    parts = laid("nextgpt", (IMAGE,), ("a disc",), prompt="generate a caption")
    assert rendered(parts).startswith("### Human: <Img>(image)</Img> generate a caption\n###")


def test_the_system_sentence_stands_in_front() -> None:
    assert rendered(laid("nextgpt", ("a",), ("b",), system="Be kind.")).startswith("Be kind. ### Human: a")


def test_what_has_no_signal_tokens_cannot_be_made() -> None:
    with pytest.raises(LayoutError, match="has a medium of type 'video'; this model generates: image, audio"):
        laid("nextgpt", ("draw",), (MadePart("video", "x"),))
    for template in ("plain", "vicuna_v1", "minigpt4", "blip2", "nextgpt"):
        with pytest.raises(LayoutError, match="has a medium of type 'image', and this adapter has no signal tokens"):
            segments(Layout.published(template), talk((IMAGE,), (DISC,)), FakeTokenizer())


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (("two",), " Modality: [TEXT] Prompt: two ###"),
        (("Here it is.", DISC), " Modality: [IMAGE] Prompt: a disc ###"),
        ((DISC, MadePart("audio", "a disc")), " Modality: [IMAGE] [AUDIO] Prompt: a disc ###"),
    ],
)
def test_modaverse_answers_in_words_about_what_to_make(turn: tuple[Any, ...], said: str) -> None:
    parts = laid("modaverse", (IMAGE, "make it"), turn)
    assert rendered(parts) == "### Human:<Media>(image)</Media> make it\n### Assistant:" + said
    assert trained(parts) == said


@pytest.mark.parametrize("turn", [(DISC, BEEP), (MadePart("image", source="x.png"),)])
def test_a_meta_response_has_one_prompt(turn: tuple[Any, ...]) -> None:
    with pytest.raises(LayoutError, match="meta response"):
        laid("modaverse", ("draw",), turn)


def test_a_flag_that_people_wrote_is_text(llm_of: Any) -> None:
    language = llm_of("llama")
    language.tokenizer.add_tokens(["[IMAGE]"], special_tokens=True)
    flag = language.tokenizer.convert_tokens_to_ids("[IMAGE]")
    row = encode(talk(("say [IMAGE]",), ("it is [IMAGE]", DISC)), Layout.published("modaverse"), language, {})
    assert row.ids.tolist().count(flag) == 1
    assert row.labels.tolist().count(flag) == 1


def test_signal_tokens_are_one_id_each_and_trained_on(llm_of: Any) -> None:
    language = llm_of("llama")
    names = [*SIGNALS["image"], *SIGNALS["audio"]]
    language.tokenizer.add_tokens(names, special_tokens=True)
    ids = language.tokenizer.convert_tokens_to_ids(names)
    layout, messages = Layout.published("nextgpt"), talk(("draw [IMG0]",), ("is [AUD0]", DISC, BEEP))
    row = encode(messages, layout, language, {}, signals=Signals(SIGNALS))
    assert [i for i in row.ids.tolist() if i in ids] == ids
    assert [i for i in row.labels.tolist() if i in ids] == ids
    assert (row.labels == IGNORE).any()
    assert row.made == (DISC, BEEP)


def test_media_between_words_stand_inside_the_layouts_prompt() -> None:
    parts = laid("nextgpt", ("A:", IMAGE, "B:", AUDIO, "which?"), ("a",), prompt="Q: {} A:")
    asked = "Q: A: <Img>(image)</Img> B: <Img>(audio)</Img> which? A:"
    assert rendered(parts).startswith(f"### Human: {asked}\n### Assistant:")


def test_an_empty_answer_is_history_without_loss() -> None:
    for template, end in {"nextgpt": "\n###", "modaverse": " Modality: [TEXT] Prompt:  ###"}.items():
        parts = laid(template, ("a",), (), ("b",), ("c",))
        space = "  " if template == "modaverse" else " "
        assert rendered(parts).startswith(f"### Human:{space}a\n### Assistant:{end} Human:{space}b")
        assert trained(parts).strip(" #\n").endswith("c")
        assert trained(parts).count("#") == 3
