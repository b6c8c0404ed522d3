"""What tests of attached adapters share: logits, an adapter with token rows, a language model that must not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from inlay.adapters import Adapter, Backbone
from inlay.adapters.conversation.layout import Layout
from inlay.adapters.llm_parts.lora import LoraConfig
from inlay.adapters.llm_parts.token_rows import TokensConfig


def scores(llm: Any) -> Tensor:
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        logits: Tensor = llm.model(inputs_embeds=llm.embed(ids)).logits
    return logits


def with_tokens(backbone: Backbone, seed: int = 0, name: str = "any") -> Adapter:
    """An adapter with token rows and LoRA."""
    torch.manual_seed(seed)
    adapter = Adapter.for_backbone(
        backbone,
        system="nextgpt",
        name=name,
        layout=Layout(template="vicuna_v1"),
        inputs={},
        tokens=TokensConfig.numbered(backbone.llm.width, image=2),
        lora=LoraConfig(r=2, targets=("q_proj", "v_proj")),
    )
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    return adapter.eval()


@contextmanager
def unchanged(backbone: Backbone) -> Iterator[None]:
    """The language model comes back as it was: numbers, module objects, tokenizer, calls, owner."""
    llm = backbone.llm
    before = scores(llm), list(llm.model.modules()), llm.tokenizer, [dict(m.__dict__) for m in llm.model.modules()]
    yield
    assert torch.equal(scores(llm), before[0])
    assert all(one is two for one, two in zip(llm.model.modules(), before[1], strict=True))
    assert llm.tokenizer is before[2]
    for module, attributes in zip(llm.model.modules(), before[3], strict=True):
        assert set(module.__dict__) == set(attributes), type(module).__name__
        assert module.__dict__.get("forward") is attributes.get("forward")
    assert backbone.attached is None


def copy_llava(model: Any, backbone: Backbone, adapter: Adapter) -> None:
    """Give the weights of backbone and adapter to a LLaVA of transformers."""
    model.model.vision_tower.load_state_dict(backbone.encoder("image").model.state_dict())
    model.model.language_model.load_state_dict(backbone.llm.model.model.state_dict())
    model.lm_head.load_state_dict(backbone.llm.model.lm_head.state_dict())
    first, _, last = adapter.inputs["image"].layers
    model.model.multi_modal_projector.linear_1.load_state_dict(first.state_dict())
    model.model.multi_modal_projector.linear_2.load_state_dict(last.state_dict())
