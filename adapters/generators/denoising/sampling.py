"""The denoising loop, with classifier-free guidance (Ho and Salimans, 2022, https://arxiv.org/abs/2207.12598).

The denoiser predicts under the conditioning and under a negative one in the same batch:
``e = e_negative + scale (e_conditioning - e_negative)``. No step copies a value from the device to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from inlay.adapters.generators.denoising.finite import advice, dtype_name, is_finite
from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["Denoiser", "denoise"]


class Denoiser(Protocol):
    """The members of a generator that the loop uses."""

    @property
    def family(self) -> str:
        """The architecture, for errors."""
        ...

    def denoised(self, latents: Tensor, step: Tensor, conditioning: Tensor) -> Tensor:
        """The prediction for latents ``[n, ...]`` at a timestep, under ``[n, tokens, width]``."""
        ...

    def stepped(
        self,
        scheduler: Any,
        predicted: Tensor,
        step: Tensor,
        latents: Tensor,
        sources: Sequence[torch.Generator] | None,
    ) -> Tensor:
        """Latents ``[n, ...]`` after one step."""
        ...


def denoise(
    model: Denoiser,
    scheduler: Any,
    latents: Tensor,
    conditioning: Tensor,
    negative: Tensor | None,
    *,
    scale: float,
    sources: Sequence[torch.Generator] | None,
) -> Tensor:
    """Run all steps of a scheduler.

    Args:
        model: the denoiser.
        scheduler: a scheduler with timesteps, on the CPU; its state is changed.
        latents: noise ``[n, ...]``.
        conditioning: ``[n, tokens, width]``.
        negative: ``[n, tokens, width]``, or None for no guidance.
        scale: the scale of the guidance.
        sources: one source of random numbers for each medium, for schedulers that draw noise.

    Returns:
        ``[n, ...]``.

    Raises:
        GeneratorError: NaN or infinite values.
    """
    both = conditioning if negative is None else torch.cat([negative, conditioning])
    finite = torch.ones((), dtype=torch.bool, device=latents.device)
    for step, placed in zip(scheduler.timesteps, scheduler.timesteps.to(latents.device), strict=True):
        pair = latents if negative is None else torch.cat([latents, latents])
        predicted = model.denoised(scheduler.scale_model_input(pair, step), placed, both)
        if negative is not None:
            unguided, guided = predicted.chunk(2)
            predicted = unguided + scale * (guided - unguided)
        # Some schedulers clip, which would hide an infinite value. The result is read once, after the loop.
        finite = finite & is_finite(predicted)
        latents = model.stepped(scheduler, predicted, step, latents, sources)
    if not finite & is_finite(latents):
        kind = latents.dtype
        raise GeneratorError(f"{model.family}: denoising: NaN or infinite values in {dtype_name(kind)}; {advice(kind)}")
    return latents
