"""Checkpointed layers: hooks and calls that others put on them run in both passes, and stay."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
import torch

from inlay.adapters.conversation.messages import Message, TextPart
from inlay.adapters.language.checkpointing import is_recomputed, recomputed
from inlay.adapters.language.occupancy import AttachError


def pull(llm: Any) -> torch.Tensor:
    torch.manual_seed(1)
    embeddings = torch.randn(1, 5, 32, requires_grad=True)
    llm.logits(embeddings, torch.ones(1, 5, dtype=torch.long)).sum().backward()
    assert embeddings.grad is not None
    return embeddings.grad


@pytest.mark.parametrize("what", ["hook", "call"])
def test_what_others_put_on_a_layer_runs_twice_and_stays(llm_of: Any, what: str) -> None:
    llm = llm_of("llama")
    layer, seen = llm.model.model.layers[0], []
    if what == "hook":
        layer.register_forward_hook(lambda _, __, output: seen.append(1) or output * 2)
    else:
        own = layer.forward
        layer.forward = lambda *args, **kwargs: seen.append(1) or own(*args, **kwargs) * 2
    call = layer.__dict__.get("forward")
    plain = pull(llm)
    assert len(seen) == 1
    with recomputed(llm.model):
        assert is_recomputed(llm.model)
        torch.testing.assert_close(pull(llm), plain)
    assert len(seen) == (2 if what == "hook" else 3)  # a hook runs around the checkpoint, a call inside of it
    assert layer.__dict__.get("forward") is call
    assert not is_recomputed(llm.model)


def test_layers_are_their_own_again_after_an_error(llm_of: Any) -> None:
    llm = llm_of("llama")
    with pytest.raises(RuntimeError, match="stop"), recomputed(llm.model):
        raise RuntimeError("stop")
    assert not any("forward" in layer.__dict__ for layer in llm.model.model.layers)


@pytest.mark.parametrize("change", ["swap", "detach"])
def test_a_backward_pass_for_another_adapter_is_refused(backbone_of: Any, adapter_of: Any, change: str) -> None:
    """The layers run again in it, and would run with the matrices of the new one: wrong gradients."""
    backbone = backbone_of()
    adapter, other = adapter_of(backbone), adapter_of(backbone, seed=9)
    model = adapter.attach(backbone)
    turns = (Message("user", (TextPart("what?"),)), Message("assistant", (TextPart("red"),)))
    with recomputed(backbone.llm.model):
        loss = model(model.batch([turns]), logits="none").loss
        if change == "swap":
            model.swap(other)
        else:
            adapter.detach()
        with pytest.raises(AttachError, match=r"call backward\(\) first"):
            loss.backward()


def test_a_backward_pass_waits_for_a_call_of_another_thread(backbone_of: Any, adapter_of: Any) -> None:
    """Both would set which attention the model uses."""
    backbone = backbone_of()
    model = adapter_of(backbone).attach(backbone)
    turns = (Message("user", (TextPart("what?"),)), Message("assistant", (TextPart("red"),)))
    with recomputed(backbone.llm.model):
        loss = model(model.batch([turns]), logits="none").loss
        done: list[str] = []
        backward = Thread(target=lambda: (loss.backward(), done.append("backward")))
        with model.held():
            backward.start()
            backward.join(timeout=0.5)
            done.append("call")
        backward.join()
    assert done == ["call", "backward"]
