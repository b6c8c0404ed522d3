"""Chat templates of published models, as their repositories ship them: rendered text, trained text, arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.layout import Layout, LayoutError, Media, Text, segments
from inlay.adapters.conversation.messages import MediaPart, Message, TextPart
from inlay.adapters.conversation.templates.chat_template import template_variables
from inlay.adapters.conversation.turn_end import turn_end

FOLDER = Path(__file__).parent.parent / "chat_templates" / "published"
LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
PHI = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
MODELS: dict[str, tuple[list[str], str]] = {
    "llama3": (LLAMA, "<|eot_id|>"),
    "llama3.1": (LLAMA, "<|eot_id|>"),
    "llama3.2": (LLAMA, "<|eot_id|>"),
    "qwen2.5": ([], "<|im_end|>"),
    "qwen3": ([], "<|im_end|>"),
    "gemma": (["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "gemma3": (["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "phi3": (PHI, "<|end|>"),
    "phi3.5": (PHI, "<|end|>"),
    "smollm2": ([], "<|im_end|>"),
    "smolvlm": (["<end_of_utterance>"], "<end_of_utterance>"),
}
"""Model to its special tokens, besides ChatML's, and the token that ends a turn."""
IN_PARTS = ("smolvlm",)
"""Templates that take contents as lists of parts alone."""


def tokenizer_with(tokenizer: Any, model: str) -> Any:
    tokenizer.add_tokens(MODELS[model][0], special_tokens=True)
    tokenizer.chat_template = (FOLDER / f"{model}.jinja").read_text()
    return tokenizer


def conversation(*, system: bool, turns: int) -> list[Message]:
    asked = Message("user", (MediaPart("image", "x.png"), TextPart("what colour?")))
    held = [
        asked,
        *(Message(r, (TextPart(t),)) for r, t in (("assistant", "red"), ("user", "sure?"), ("assistant", "yes"))),
    ]
    return [*([Message("system", (TextPart("Be brief."),))] if system else []), *held[:turns]]


def as_rows(messages: list[Message], *, parts: bool) -> list[dict[str, Any]]:
    """Messages as transformers takes them."""
    texts = ["<image>\nwhat colour?" if message.text == "what colour?" else message.text for message in messages]
    contents: list[Any] = [[{"type": "text", "text": text}] for text in texts] if parts else texts
    return [{"role": message.role, "content": content} for message, content in zip(messages, contents, strict=True)]


def text_of(laid: list[Any]) -> str:
    return "".join("<image>" if isinstance(segment, Media) else segment.text for segment in laid)


def trained(laid: list[Any]) -> list[str]:
    return [segment.text for segment in laid if isinstance(segment, Text) and segment.trained and segment.text]


@pytest.mark.parametrize("turns", [1, 2, 3, 4])
@pytest.mark.parametrize("model", MODELS)
def test_a_published_template_is_laid_out_as_transformers_renders_it(tokenizer_of: Any, model: str, turns: int) -> None:
    tokenizer = tokenizer_with(tokenizer_of(bos=True), model)
    messages = conversation(system=model not in ("gemma", "phi3"), turns=turns)
    if model == "gemma3":
        messages = conversation(system=False, turns=turns)
    rows = as_rows(messages, parts=model in IN_PARTS)
    day = {"date_string": "26 Jul 2024"}
    expected = tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=turns % 2 == 1, **day)
    laid = segments(Layout(template="chat"), messages, tokenizer, generation=turns % 2 == 1)
    assert text_of(laid) == expected


@pytest.mark.parametrize("model", MODELS)
def test_answers_are_trained_up_to_the_token_that_ends_the_turn(tokenizer_of: Any, model: str) -> None:
    tokenizer = tokenizer_with(tokenizer_of(bos=True), model)
    end = MODELS[model][1]
    laid = segments(Layout(template="chat"), conversation(system=False, turns=4), tokenizer)
    found = trained(laid)
    assert "".join(found).replace("<think>\n\n</think>\n\n", "").replace(" ", "") == f"red{end}yes{end}"
    assert turn_end(Layout(template="chat"), tokenizer).ids == (tokenizer.convert_tokens_to_ids(end),)


def test_enable_thinking_of_qwen3_is_passed_through(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_with(tokenizer_of(bos=False), "qwen3")
    asked = conversation(system=False, turns=1)
    for thinking in (True, False):
        layout = Layout(template="chat", arguments={"enable_thinking": thinking})
        expected = tokenizer.apply_chat_template(
            as_rows(asked, parts=False), tokenize=False, add_generation_prompt=True, enable_thinking=thinking
        )
        assert text_of(segments(layout, asked, tokenizer, generation=True)) == expected
        assert expected.endswith("<think>\n\n</think>\n\n") is not thinking


def test_without_thinking_the_empty_thought_belongs_to_the_prompt(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_with(tokenizer_of(bos=False), "qwen3")
    messages = conversation(system=False, turns=2)
    assert trained(segments(Layout(template="chat"), messages, tokenizer))[0] == "<think>\n\n</think>\n\n"
    quiet = Layout(template="chat", arguments={"enable_thinking": False})
    assert trained(segments(quiet, messages, tokenizer)) == ["red", "<|im_end|>"]


def test_an_argument_that_the_template_does_not_read_is_an_error(tokenizer_of: Any) -> None:
    tokenizer = tokenizer_with(tokenizer_of(bos=False), "qwen3")
    layout = Layout(template="chat", arguments={"enable_thinkng": False})
    with pytest.raises(LayoutError, match=r"no variable enable_thinkng; it has: enable_thinking"):
        segments(layout, conversation(system=False, turns=2), tokenizer)


def test_arguments_go_with_the_chat_template_alone() -> None:
    with pytest.raises(LayoutError, match=r"arguments: template 'vicuna_v1' takes none, got enable_thinking"):
        Layout(template="vicuna_v1", arguments={"enable_thinking": False})


def test_variables_of_published_templates(tokenizer_of: Any) -> None:
    assert template_variables(tokenizer_with(tokenizer_of(), "qwen3")) == {"enable_thinking"}
    assert "tools_in_user_message" in template_variables(tokenizer_with(tokenizer_of(), "llama3.1"))
    assert template_variables(tokenizer_with(tokenizer_of(), "smollm2")) == frozenset()


def test_arguments_are_stored_in_the_bundle(tmp_path: Path, backbone_of: Any, adapter_of: Any) -> None:
    backbone = backbone_of("qwen3")
    tokenizer_with(backbone.llm.tokenizer, "qwen3")
    adapter = adapter_of(backbone, template="chat")
    adapter.layout = Layout(template="chat", arguments={"enable_thinking": False})
    adapter.save_pretrained(tmp_path / "bundle")
    assert Adapter.from_pretrained(tmp_path / "bundle").layout.arguments == {"enable_thinking": False}
