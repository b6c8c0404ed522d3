"""Detection of NaN and infinite values. They would become a black image or a silent sound, not an error.

float16 overflows above 65504, which is the usual cause: text encoders and image decoders that were trained in bfloat16
exceed it. Each check copies one value from the device, so none of them is inside the loop over denoising steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["advice", "check_finite", "dtype_name", "is_finite"]


def is_finite(values: Tensor) -> Tensor:
    """Whether all values are finite, as a bool tensor without dimensions on the same device.

    Example:
        >>> is_finite(torch.tensor([1.0, float("nan")])).item()
        False
    """
    return torch.isfinite(values).all()


def check_finite(values: Tensor, what: str) -> Tensor:
    """Return the values, after a check that they are finite.

    Args:
        values: values of any shape, as the model computed them.
        what: description of the values, for the error.

    Raises:
        GeneratorError: there are NaN or infinite values; the text names the dtype and a better one.
    """
    if not is_finite(values):
        raise GeneratorError(f"{what}: NaN or infinite values in {dtype_name(values.dtype)}; {advice(values.dtype)}")
    return values


def advice(dtype: torch.dtype) -> str:
    """Advice for an overflow in a dtype."""
    if dtype == torch.float16:
        return 'float16 ends at 65504: load the generator with dtype="bfloat16" or dtype="float32"'
    if dtype == torch.bfloat16:
        return 'load the generator with dtype="float32", or lower guidance_scale'
    return "lower guidance_scale, or check the conditioning and the weights, which may be damaged"


def dtype_name(dtype: torch.dtype) -> str:
    """``float16``, ``bfloat16``, ..."""
    return str(dtype).removeprefix("torch.")
