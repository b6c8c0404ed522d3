"""``torch.compile`` for the layers of a frozen language model (https://pytorch.org/docs/stable/torch.compiler.html).

Layer by layer, with lengths left open, so that one piece of generated code serves all layers and all batches. LoRA is
computed by peft's own layers meanwhile, which the compiler can look into; it fuses on its own what
:mod:`inlay.adapters.llm_parts.lora_fused` fuses by hand. The last layer stays as it is, for it reads labelled
positions alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from inlay.adapters.language.known_layers import decoder_layers
from inlay.adapters.llm_parts.lora import LoraPart

__all__ = ["compiled", "compiles", "missing_compiler"]


def missing_compiler(device: torch.device) -> str:
    """What the code generator lacks on this machine; empty if nothing is known to be missing."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return "" if has_triton() else "Triton (pip install triton)"
    command = os.environ.get("CXX", "g++")
    return "" if shutil.which(command) else f"a C++ compiler ({command})"


def compiles(model: Any) -> bool:
    """Whether there are layers to compile: those of a decoder-only model."""
    return len(decoder_layers(model)) > 1


@contextmanager
def compiled(model: Any, lora: LoraPart | None, *, backend: str | Callable[..., Any] = "inductor") -> Iterator[None]:
    """While this lasts, all layers but the last run as generated code; the first calls generate it.

    Args:
        model: of :func:`compiles`.
        lora: attached to it, or None.
        backend: torch's name of a code generator.
    """
    layers = list(decoder_layers(model))[:-1]
    with ExitStack() as stack:
        if lora is not None:
            stack.enter_context(lora.plain())
        for layer in layers:
            call: Any = torch.compile(partial(type(layer).forward, layer), dynamic=True, backend=backend)
            layer.__dict__["forward"] = call
            stack.callback(layer.__dict__.pop, "forward", None)
        yield
