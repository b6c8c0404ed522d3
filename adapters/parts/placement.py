"""Moving the inputs of a part to the device and dtype of its weights."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["like_weights"]


def like_weights(module: nn.Module, tensor: Tensor) -> Tensor:
    """A tensor of any shape, on the device of the module's first parameter and, if floating-point, in its dtype.

    Features may come from a cache on the CPU or from an encoder on another device. Token ids keep their dtype.
    """
    weight = next(module.parameters())
    return tensor.to(device=weight.device, dtype=weight.dtype if tensor.is_floating_point() else tensor.dtype)
