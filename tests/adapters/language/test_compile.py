"""Compiled layers: every layer runs as generated code, and what others put on a layer keeps working.

Loss and gradients with an adapter are compared in ``tests/recipes/training/callbacks/test_compile.py``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import torch

from inlay.adapters.language.compile import compiled


def test_hooks_and_calls_of_others_keep_working(llm_of: Any) -> None:
    llm = llm_of("llama")
    first, last = llm.model.model.layers
    first.register_forward_hook(lambda _, __, output: output * 2)
    own = last.forward
    last.forward = call = lambda *args, **kwargs: own(*args, **kwargs) * 3
    embeddings, mask = torch.randn(1, 5, 32), torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        wanted = llm.logits(embeddings, mask)
        with compiled(llm.model, backend="eager"):
            torch.testing.assert_close(llm.logits(embeddings, mask), wanted)
    assert "forward" not in first.__dict__
    assert last.__dict__["forward"] is call


def test_the_context_that_is_given_lasts_as_long(llm_of: Any) -> None:
    steps: list[str] = []

    @contextmanager
    def plain() -> Any:
        steps.append("on")
        yield
        steps.append("off")

    with compiled(llm_of("llama").model, plain(), backend="eager"):
        assert steps == ["on"]
    assert steps == ["on", "off"]
