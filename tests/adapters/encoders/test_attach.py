"""Attaching an adapter puts nothing on a frozen encoder, so any number of backbones may share one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.backbone import Backbone
from inlay.adapters.conversation.messages import parse_messages


def state_of(encoder: torch.nn.Module) -> dict[str, Any]:
    """Every module with its class, mode and hooks, and every tensor with its place and its version."""
    modules = {
        name: (type(module), module.training, {key for key in vars(module) if vars(module)[key]}, _hooks(module))
        for name, module in encoder.named_modules()
    }
    tensors = {
        name: (tensor.data_ptr(), tensor._version, tensor.requires_grad)
        for name, tensor in (*encoder.named_parameters(), *encoder.named_buffers())
    }
    return {"modules": modules, "tensors": tensors}


def _hooks(module: torch.nn.Module) -> list[int]:
    return [len(held) for name, held in sorted(vars(module).items()) if name.endswith("_hooks")]


@pytest.mark.parametrize("name", ["clip", "vit"])
def test_attach_forward_backward_and_detach_leave_an_encoder_alone(
    name: str, request: pytest.FixtureRequest, llm_of: Any, adapter_of: Any, image_of: Any
) -> None:
    encoder = request.getfixturevalue(f"{name}_of")()
    one, two = Backbone(llm_of("llama"), {"image": encoder}), Backbone(llm_of("llama", 1), {"image": encoder})
    first, second = adapter_of(one), adapter_of(two, seed=4)
    pixels = encoder.preprocess([image_of()], "crop")
    features, before = encoder.encode(pixels), state_of(encoder)
    models = [first.attach(one), second.attach(two)]
    for model in models:
        message = [{"role": "user", "content": [{"type": "image", "image": image_of()}, {"type": "text", "text": "a"}]}]
        model.adapter.train()
        conversation = parse_messages([*message, {"role": "assistant", "content": "red"}])
        model(model.batch([conversation])).loss.backward()
        model.chat(message, max_new_tokens=1)
    assert state_of(encoder) == before
    first.detach()
    second.detach()
    assert state_of(encoder) == before
    assert torch.equal(encoder.encode(pixels), features)
