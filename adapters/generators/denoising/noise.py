"""Noise and the arithmetic of diffusion: pure functions, with the formulas.

``x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e``, with ``a_t`` the product of ``1 - beta`` up to step ``t`` (Ho et al., 2020,
https://arxiv.org/abs/2006.11239). A denoiser predicts ``e`` (epsilon), ``v = sqrt(a_t) e - sqrt(1 - a_t) x_0``
(Salimans and Ho, 2022, https://arxiv.org/abs/2202.00512) or ``x_0`` (sample). The signal-to-noise ratio is
``a_t / (1 - a_t)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inlay.adapters.generators.denoising.arguments import seeds_of
from inlay.adapters.generators.denoising.schedule import Prediction
from inlay.adapters.generators.protocol import Seed

__all__ = ["add_noise", "draw", "min_snr_weights", "random_sources", "target_of"]


def random_sources(seed: Seed, count: int) -> list[torch.Generator] | None:
    """One source of random numbers for each medium, on the CPU, so that device and batch do not change the numbers.

    Raises:
        GeneratorError: as in :func:`inlay.adapters.generators.denoising.arguments.seeds_of`.
    """
    seeds = seeds_of(seed, count)
    return None if seeds is None else [torch.Generator().manual_seed(number) for number in seeds]


def draw(
    shape: Sequence[int], sources: Sequence[torch.Generator] | None, *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Normal noise ``[n, ...]``, each row from its own source."""
    if sources is None:
        return torch.randn(*shape, device=device, dtype=dtype)
    rows = [torch.randn(1, *shape[1:], generator=source, dtype=dtype) for source in sources]
    return torch.cat(rows).to(device)


def add_noise(clean: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """``sqrt(a) x_0 + sqrt(1 - a) e``.

    Args:
        clean: ``[n, ...]``.
        noise: ``[n, ...]``.
        alphas: ``a_t``, ``[n]``.

    Example:
        >>> add_noise(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([0.25])).item()
        1.8660254...
    """
    kept = _spread(alphas, clean)
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def target_of(prediction: Prediction, clean: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """The correct prediction of a denoiser; arguments as in :func:`add_noise`."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    kept = _spread(alphas, clean)
    return kept.sqrt() * noise - (1 - kept).sqrt() * clean


def min_snr_weights(alphas: Tensor, prediction: Prediction, gamma: float) -> Tensor:
    """Weights of the squared error (Hang et al., 2023, https://arxiv.org/abs/2303.09556).

    ``min(SNR, gamma)`` on the error of ``x_0``; for epsilon it is divided by ``SNR``, for v by ``SNR + 1``. A schedule
    with zero terminal SNR has ``a_t = 0``, where the weight of epsilon is 1.

    Args:
        alphas: ``a_t``, ``[n]``.
        prediction: the kind of prediction of the denoiser.
        gamma: 5 in the paper.

    Returns:
        ``[n]``.

    Example:
        >>> min_snr_weights(torch.tensor([0.5, 0.9375, 0.0]), "epsilon", 5.0).tolist()
        [1.0, 0.3333..., 1.0]
    """
    ratio = alphas / (1 - alphas)
    capped = ratio.clamp(max=gamma)
    if prediction == "epsilon":
        return (gamma / ratio).clamp(max=1)
    return capped if prediction == "sample" else capped / (ratio + 1)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """``[n]`` -> ``[n, 1, ...]``, with as many dimensions as ``like``."""
    return values.to(like).view(-1, *[1] * (like.dim() - 1))
