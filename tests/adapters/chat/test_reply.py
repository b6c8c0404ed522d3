"""Why an answer finished, and where a turn ends with the LLM's own chat template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from inlay.adapters import Adapter, Backbone, Layout
from inlay.adapters.chat.reply import finish_reason
from inlay.adapters.inputs import MlpConfig
from inlay.adapters.language.model import LanguageModel

Make = Callable[..., Any]
ASKED = [{"role": "user", "content": "what is shown?"}]


@pytest.mark.parametrize(
    ("ended", "media", "reason"),
    [("stop", False, "stop"), ("stop", True, "media"), ("length", False, "length"), ("length", True, "length")],
)
def test_the_reason_names_media_only_where_the_turn_was_ended(ended: Any, media: bool, reason: str) -> None:
    assert finish_reason(ended, media) == reason


def chat_model(llm: LanguageModel, encoder: Any, template: str, favourite: str) -> Any:
    """A model whose head prefers one token above all others, from the second new token on."""
    backbone = Backbone(llm=llm, encoders={"image": encoder})
    torch.manual_seed(0)
    adapter = Adapter.for_backbone(
        backbone, system="llava", name="any", layout=Layout.published(template), inputs={"image": MlpConfig()}
    )
    head = llm.model.get_output_embeddings()
    index = llm.tokenizer.convert_tokens_to_ids(favourite)
    steps = [0]

    def prefer(_: Any, __: Any, scores: torch.Tensor) -> torch.Tensor:
        steps[0] += 1
        if steps[0] % 4 == 0:
            scores[..., index] = 1e4
        return scores

    head.register_forward_hook(prefer)
    return adapter.eval().attach(backbone, verify=False)


@pytest.mark.parametrize(("template", "end"), [("chat", "<|im_end|>"), ("vicuna_v1", "</s>")])
def test_an_answer_ends_at_the_token_that_is_trained_to_end_a_turn(
    llm_of: Make, clip_of: Make, template: str, end: str
) -> None:
    """EOS is ``</s>``, and the chat template ends a turn with ``<|im_end|>``, as with Qwen2.5 base."""
    llm = llm_of("llama")
    assert llm.tokenizer.eos_token == "</s>"
    model = chat_model(llm, clip_of(), template, end)
    labels = model.encode((*_parsed(ASKED), *_parsed([{"role": "assistant", "content": "a star"}]))).labels
    assert int(labels[labels != -100][-1]) == llm.tokenizer.convert_tokens_to_ids(end)
    reply = model.chat(ASKED)
    assert (reply.finish_reason, reply.tokens) == ("stop", 4)
    assert end not in reply.text


def test_an_answer_that_is_cut_off_says_so(llm_of: Make, clip_of: Make) -> None:
    model = chat_model(llm_of("llama"), clip_of(), "vicuna_v1", "</s>")
    reply = model.chat(ASKED, max_new_tokens=2)
    assert (reply.finish_reason, reply.tokens) == ("length", 2)


def test_an_answer_ends_with_the_context(llm_of: Make, clip_of: Make) -> None:
    llm = llm_of("llama")
    model = chat_model(llm, clip_of(), "vicuna_v1", "a")
    reply = model.chat(ASKED)
    assert reply.finish_reason == "length"
    assert 100 < reply.tokens < llm.context


def _parsed(messages: Any) -> Any:
    from inlay.adapters import parse_messages

    return parse_messages(messages)
