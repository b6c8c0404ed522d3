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

from inlay.adapters.language.decoder_layers import decoder_layers, replaced_calls

__all__ = ["compiled", "missing_compiler"]


def missing_compiler(device: torch.device) -> str:
    """The name of the compiler that torch needs on this device and that is not installed; empty if none is missing."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return "" if has_triton() else "Triton (pip install triton)"
    command = os.environ.get("CXX", "g++")
    return "" if shutil.which(command) else f"a C++ compiler ({command})"


@contextmanager
def compiled(
    model: Any, plain: AbstractContextManager[Any] | None = None, *, backend: str | Callable[..., Any] = "inductor"
) -> Iterator[None]:
    """Run the layers as generated code; the first calls generate it.

    Other calls and hooks of the layers keep working, see
    :func:`~inlay.adapters.language.decoder_layers.replaced_calls`.

    Args:
        model: a decoder-only model.
        plain: entered meanwhile; switches off hand-written autograd that the compiler cannot trace, such as that of
            fused LoRA.
        backend: the name of torch's code generator.
    """
    with (
        plain or nullcontext(),
        replaced_calls(decoder_layers(model), lambda call: torch.compile(call, dynamic=True, backend=backend)),
    ):
        yield
