"""``torch.compile`` for the layers of a frozen language model (https://pytorch.org/docs/stable/torch.compiler.html).

The layers are compiled one by one with dynamic lengths, so that one piece of generated code serves all layers and all
batches.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from inlay.adapters.language.decoder_layers import decoder_layers

__all__ = ["compiled", "compiles", "missing_compiler"]


def missing_compiler(device: torch.device) -> str:
    """The name of the compiler that torch needs on this device and that is not installed; empty if none is missing."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return "" if has_triton() else "Triton (pip install triton)"
    command = os.environ.get("CXX", "g++")
    return "" if shutil.which(command) else f"a C++ compiler ({command})"


def compiles(model: Any) -> bool:
    """Whether the model has decoder layers to compile; encoder-decoders have none."""
    return bool(decoder_layers(model))


@contextmanager
def compiled(
    model: Any, plain: AbstractContextManager[Any] | None = None, *, backend: str | Callable[..., Any] = "inductor"
) -> Iterator[None]:
    """Run the layers as generated code; the first calls generate it.

    Hooks on the layers, and a ``forward`` that another library set on a layer object, keep working.

    Args:
        model: a model for which :func:`compiles` is True.
        plain: a context that is entered meanwhile and switches off hand-written autograd functions that the compiler
                    cannot trace, such as that of fused LoRA.
        backend: the name of torch's code generator.
    """
    layers = list(decoder_layers(model))
    before = [layer.__dict__.get("forward") for layer in layers]
    with plain or nullcontext():
        for layer in layers:
            layer.__dict__["forward"] = torch.compile(layer.forward, dynamic=True, backend=backend)
        try:
            yield
        finally:
            for layer, call in zip(layers, before, strict=True):
                del layer.__dict__["forward"]
                if call is not None:
                    layer.__dict__["forward"] = call
