"""Seeds, noise and the arithmetic of diffusion: pure functions, the formulas beside the code.

``x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e``, with ``a_t`` the product of ``1 - beta`` up to step ``t`` (Ho et al., 2020,
https://arxiv.org/abs/2006.11239). What a model predicts is ``e`` (epsilon), ``v = sqrt(a_t) e - sqrt(1 - a_t) x_0``
(Salimans and Ho, 2022, https://arxiv.org/abs/2202.00512) or ``x_0`` (sample). The signal-to-noise ratio is
``a_t / (1 - a_t)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from inlay.adapters.generators.protocol import GeneratorError, Seed

__all__ = ["Prediction", "add_noise", "draw", "min_snr_weights", "prediction_of", "random_sources", "target_of"]

Prediction: TypeAlias = Literal["epsilon", "v_prediction", "sample"]
"""What a denoiser gives, in the words of diffusers' schedulers."""


def prediction_of(scheduler: object) -> Prediction:
    """What the denoiser that belongs to a scheduler predicts; a scheduler that does not say means epsilon.

    Raises:
        GeneratorError: something else.
    """
    name = getattr(getattr(scheduler, "config", None), "prediction_type", "epsilon")
    for known in get_args(Prediction):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise GeneratorError(f"prediction_type: expected one of {', '.join(get_args(Prediction))}, got {name!r}")


def random_sources(seed: Seed, count: int) -> list[torch.Generator] | None:
    """One source of random numbers a medium, on the CPU: the same numbers on every device and in every batch.

    Raises:
        GeneratorError: a list of another length.
    """
    if seed is None:
        return None
    seeds = [seed + index for index in range(count)] if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise GeneratorError(f"seed: expected one number, or {count} of them for {count} media, got {len(seeds)}")
    return [torch.Generator().manual_seed(number) for number in seeds]


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
        noise: of the same shape.
        alphas: ``a_t``, ``[n]``.

    Example:
        >>> add_noise(torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([0.25])).item()
        1.8660254...
    """
    kept = _spread(alphas, clean)
    return kept.sqrt() * clean + (1 - kept).sqrt() * noise


def target_of(prediction: Prediction, clean: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """What a denoiser of this kind should have said; arguments as of :func:`add_noise`."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return clean
    kept = _spread(alphas, clean)
    return kept.sqrt() * noise - (1 - kept).sqrt() * clean


def min_snr_weights(alphas: Tensor, prediction: Prediction, gamma: float) -> Tensor:
    """Weights of the squared error (Hang et al., 2023, https://arxiv.org/abs/2303.09556).

    ``min(SNR, gamma)`` on the error of ``x_0``; in terms of epsilon that over ``SNR``, of v over ``SNR + 1``.

    Args:
        alphas: ``a_t``, ``[n]``.
        prediction: what the error is of.
        gamma: 5 in the paper.

    Returns:
        ``[n]``.

    Example:
        >>> min_snr_weights(torch.tensor([0.5, 0.9375]), "epsilon", 5.0).tolist()
        [1.0, 0.3333...]
    """
    ratio = alphas / (1 - alphas)
    capped = ratio.clamp(max=gamma)
    return {"epsilon": capped / ratio, "v_prediction": capped / (ratio + 1), "sample": capped}[prediction]


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """``[n]`` -> ``[n, 1, ...]``, to be multiplied with ``like``."""
    return values.to(like).view(-1, *[1] * (like.dim() - 1))
