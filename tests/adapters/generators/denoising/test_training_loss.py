"""Arguments of the diffusion loss, and weights that stay finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inlay.adapters.generators.denoising.noise import min_snr_weights
from inlay.adapters.generators.denoising.training_loss import denoising_loss
from inlay.adapters.generators.protocol import GeneratorError

TABLE = torch.linspace(0.99, 0.0, 10)
CLEAN = torch.zeros(2, 4, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise": torch.zeros(2, 4, 2)}, r"expected latents and noise of one shape .* got \[2, 4, 2\]"),
        ({"timesteps": torch.tensor([0])}, "timesteps: expected 2 whole numbers from 0 to 9"),
        ({"timesteps": torch.tensor([0, 10])}, "timesteps: expected 2 whole numbers from 0 to 9"),
        ({"timesteps": torch.tensor([-1, 0])}, "timesteps: expected 2 whole numbers from 0 to 9"),
        ({"timesteps": torch.tensor([0.0, 1.0])}, "timesteps: expected 2 whole numbers from 0 to 9"),
        ({"snr_gamma": float("nan")}, "snr_gamma: expected a finite number from 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GeneratorError, match=said):
        denoising_loss(lambda noised, _: noised, CLEAN, TABLE, "epsilon", **changes)


def test_no_media_give_an_error_and_not_nan() -> None:
    with pytest.raises(GeneratorError, match="n > 0"):
        denoising_loss(lambda noised, _: noised, CLEAN[:0], TABLE, "epsilon")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_zero_terminal_snr_gives_finite_weights(prediction: Any) -> None:
    weights = min_snr_weights(torch.tensor([1.0, 0.5, 0.0]), prediction, 5.0)
    assert torch.isfinite(weights).all()
