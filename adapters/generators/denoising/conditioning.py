"""The conditioning of a generator: its width, its shape, and overflow in the generator's dtype."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inlay.adapters.generators.denoising.finite import advice, dtype_name, is_finite
from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["check_conditioning", "check_given", "cross_attention_width"]


def cross_attention_width(unet: object, family: str) -> int:
    """Values per vector of the conditioning of a unet with cross-attention.

    Raises:
        GeneratorError: a unet without one such width.
    """
    width = getattr(getattr(unet, "config", None), "cross_attention_dim", None)
    if not isinstance(width, int):
        raise GeneratorError(
            f"{family}: expected a unet with one cross_attention_dim, got {width!r}: its conditioning is not one "
            "sequence of vectors"
        )
    return width


def check_conditioning(conditioning: Any, name: str, tokens: int, width: int) -> Tensor:
    """Floating-point conditioning of the shape ``[n, tokens, width]``.

    Raises:
        GeneratorError: no tensor, another shape, or whole numbers.
    """
    if not isinstance(conditioning, Tensor):
        raise GeneratorError(f"{name}: expected a tensor, got {type(conditioning).__name__}")
    if conditioning.dim() != 3 or tuple(conditioning.shape[1:]) != (tokens, width):
        raise GeneratorError(f"{name}: expected the shape [n, {tokens}, {width}], got {list(conditioning.shape)}")
    if not torch.is_floating_point(conditioning):
        raise GeneratorError(f"{name}: expected floating-point values, got {conditioning.dtype}")
    return conditioning


def check_given(given: Tensor, converted: Tensor, name: str) -> None:
    """Check a conditioning, as it was given and as it was converted to the generator's dtype.

    Raises:
        GeneratorError: it is not finite; the text names the cause, its source or the conversion.
    """
    if is_finite(converted):
        return
    if not is_finite(given):
        raise GeneratorError(
            f"{name}: NaN or infinite values in the {dtype_name(given.dtype)} tensor that was given; compute it (the "
            "language model, the output projector or the text encoder) in bfloat16 or float32"
        )
    raise GeneratorError(
        f"{name}: values up to {given.abs().max().item():.3g} overflow {dtype_name(converted.dtype)}, the generator's "
        f"dtype; {advice(converted.dtype)}"
    )
