"""The scheduler of a generator: kind of prediction, number of steps, and a copy for every call.

diffusers' schedulers keep the state of a run in themselves, so each call works on a copy. Its timesteps stay on the
CPU: a scheduler looks values up by timestep in tables on the CPU, so a timestep on a GPU would make the host wait for
the GPU in every step.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any, Literal, TypeAlias, get_args

from torch import Tensor

from inlay.adapters.generators.denoising.arguments import check_whole
from inlay.adapters.generators.protocol import GeneratorError

__all__ = ["Prediction", "alphas_of", "draws_noise", "prediction_of", "scheduler_for"]

Prediction: TypeAlias = Literal["epsilon", "v_prediction", "sample"]
"""The kind of prediction of a denoiser, by the names of diffusers' schedulers."""


def prediction_of(scheduler: object) -> Prediction:
    """The kind of prediction that a scheduler expects; epsilon for a scheduler without a setting.

    Raises:
        GeneratorError: the setting has another value.
    """
    config = getattr(scheduler, "config", None)
    name = getattr(config, "prediction_type", "epsilon" if hasattr(scheduler, "alphas_cumprod") else None)
    for known in get_args(Prediction):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise GeneratorError(f"prediction_type: expected one of {', '.join(get_args(Prediction))}, got {name!r}")


def scheduler_for(scheduler: Any, steps: object) -> Any:
    """A copy of a scheduler, set to a number of denoising steps.

    Raises:
        GeneratorError: the number of steps is not a whole number, or this scheduler does not support it.
    """
    trained = int(getattr(getattr(scheduler, "config", None), "num_train_timesteps", 1000))
    number = check_whole("steps", steps, 1, trained)
    ours = copy.deepcopy(scheduler)
    try:
        ours.set_timesteps(number, device="cpu")
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise GeneratorError(
            f"steps: {type(scheduler).__name__} does not support {number} steps ({error}); choose another number"
        ) from error
    table = getattr(ours, "alphas_cumprod", None)
    if table is not None and int(ours.timesteps.max()) >= len(table):
        raise GeneratorError(
            f"steps: {number} steps of {type(scheduler).__name__} reach timestep {int(ours.timesteps.max())}, the last "
            f"one is {len(table) - 1}; choose fewer steps"
        )
    return ours


def draws_noise(scheduler: Any) -> bool:
    """Whether the scheduler's step takes sources of random numbers."""
    return "generator" in inspect.signature(scheduler.step).parameters


def alphas_of(scheduler: Any) -> Tensor:
    """The cumulative products ``a_t``, ``[timesteps]``.

    Raises:
        GeneratorError: a scheduler without them, such as one of flow matching.
    """
    table = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(table, Tensor):
        raise GeneratorError(
            f"{type(scheduler).__name__} has no alphas_cumprod; the diffusion loss needs a scheduler of denoising "
            "diffusion, such as DDIMScheduler"
        )
    return table
