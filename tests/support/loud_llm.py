"""Language models that write a given answer, for tests of any-to-any replies."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.adapter import Adapter
from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.language.generation.generate import Generation


def loud(adapter: Adapter, first: str) -> None:
    """Make the LLM write a certain signal token first of all: its row of the head follows what it has to say."""
    assert adapter.tokens is not None
    index = adapter.tokens.config.strings.index(first)
    model = adapter.attachment.backbone.llm
    states = []
    handle = model.model.get_output_embeddings().register_forward_pre_hook(lambda _, args: states.append(args[0]))
    with torch.no_grad():
        from inlay.adapters.model import MultimodalModel

        MultimodalModel(adapter.attachment.backbone, adapter).probe([Message("user", (TextPart("what is shown?"),))])
        handle.remove()
        adapter.tokens.output[index] = 50 * torch.nn.functional.normalize(states[0][0, -1], dim=-1)


def scripted(adapter: Adapter, script: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the LLM write a given answer, whatever it thinks."""
    llm = adapter.attachment.backbone.llm
    ids = llm.tokenizer(script, add_special_tokens=False).input_ids

    def generate(embeddings: torch.Tensor, mask: torch.Tensor, **_: Any) -> Generation:
        return Generation([list(ids) for _ in embeddings], ["stop" for _ in embeddings])

    monkeypatch.setattr(llm, "generate", generate)
    return list(ids)
