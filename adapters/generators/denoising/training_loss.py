"""The diffusion loss: the error of a frozen denoiser, whose gradient trains the conditioning (DDPM, Ho et al., 2020).

https://arxiv.org/abs/2006.11239, in its simple form: noise is added at a random timestep, and the squared error of the
prediction is averaged, optionally weighted by min-SNR.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inlay.adapters.generators.denoising.arguments import check_number
from inlay.adapters.generators.denoising.noise import add_noise, min_snr_weights, target_of
from inlay.adapters.generators.denoising.schedule import Prediction
from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["denoising_loss"]


def denoising_loss(
    denoised: Callable[[Tensor, Tensor], Tensor],
    clean: Tensor,
    table: Tensor,
    prediction: Prediction,
    *,
    noise: Tensor | None = None,
    timesteps: Tensor | None = None,
    snr_gamma: float | None = None,
) -> Tensor:
    """Squared error of a prediction for noised latents. No value is copied to the host.

    Args:
        denoised: noised latents ``[n, ...]`` and timesteps ``[n]`` -> prediction ``[n, ...]``.
        clean: latents ``[n, ...]``, ``n > 0``.
        table: ``a_t`` of every timestep, on the device of ``clean``.
        prediction: the kind of prediction.
        noise: ``[n, ...]``; drawn if not given.
        timesteps: ``[n]``, whole numbers; drawn if not given.
        snr_gamma: see :func:`inlay.adapters.generators.denoising.noise.min_snr_weights`; None for no weights.

    Returns:
        A scalar in float32.

    Raises:
        GeneratorError: arguments of other shapes, or timesteps outside the table.
    """
    if not len(clean) or (noise is not None and noise.shape != clean.shape):
        got = list(clean.shape if noise is None else noise.shape)
        raise GeneratorError(f"expected latents and noise of one shape [n, ...] with n > 0, got {got}")
    noise = torch.randn_like(clean) if noise is None else noise.to(clean)
    if timesteps is None:
        timesteps = torch.randint(len(table), (len(clean),), device=clean.device)
    elif not _are_timesteps(timesteps, len(clean), len(table)):
        raise GeneratorError(
            f"timesteps: expected {len(clean)} whole numbers from 0 to {len(table) - 1}, got {timesteps}"
        )
    timesteps = timesteps.to(clean.device)
    alphas = table[timesteps].float()
    predicted = denoised(add_noise(clean, noise, alphas), timesteps)
    errors = (predicted.float() - target_of(prediction, clean, noise, alphas).float()).square().flatten(1).mean(dim=1)
    if snr_gamma is not None:
        errors = errors * min_snr_weights(alphas, prediction, check_number("snr_gamma", snr_gamma, 0))
    return errors.mean()


def _are_timesteps(timesteps: Tensor, count: int, end: int) -> bool:
    if timesteps.shape != (count,) or timesteps.is_floating_point() or timesteps.is_complex():
        return False
    # On a GPU the values would have to be copied first; torch's own assertion finds them there.
    return timesteps.is_cuda or bool(((timesteps >= 0) & (timesteps < end)).all())
