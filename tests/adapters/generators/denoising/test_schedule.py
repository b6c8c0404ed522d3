"""Numbers of steps that a scheduler supports, and copies of it."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest

from inlay.adapters.generators.denoising.schedule import alphas_of, prediction_of, scheduler_for
from inlay.adapters.generators.protocol import GeneratorError

KINDS = [
    "DDIMScheduler",
    "PNDMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
    "HeunDiscreteScheduler",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1001, 0, -3, 2.5, True, "20"])
def test_more_steps_than_the_scheduler_has_and_other_nonsense_is_refused(kind: str, steps: Any) -> None:
    with pytest.raises(GeneratorError, match="steps: expected a whole number from 1 to 1000, got"):
        scheduler_for(getattr(diffusers, kind)(), steps)


def test_a_number_that_one_scheduler_cannot_do_names_the_scheduler() -> None:
    with pytest.raises(GeneratorError, match="steps: PNDMScheduler does not support 1 steps"):
        scheduler_for(diffusers.PNDMScheduler(), 1)
    with pytest.raises(GeneratorError, match="steps: LCMScheduler does not support 1000 steps"):
        scheduler_for(diffusers.LCMScheduler(), 1000)


def test_an_offset_that_leads_beyond_the_last_timestep_is_refused() -> None:
    scheduler = diffusers.DDIMScheduler(steps_offset=1)
    with pytest.raises(GeneratorError, match="1000 steps of DDIMScheduler reach timestep 1000, the last one is 999"):
        scheduler_for(scheduler, 1000)
    assert len(scheduler_for(scheduler, 500).timesteps) == 500


def test_the_scheduler_itself_is_not_changed() -> None:
    scheduler = diffusers.EulerDiscreteScheduler()
    before = scheduler.timesteps.clone()
    assert len(scheduler_for(scheduler, 7).timesteps) == 7
    assert scheduler.timesteps.equal(before)


def test_flow_matching_is_not_taken_for_epsilon() -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    with pytest.raises(GeneratorError, match=r"prediction_type: expected one of epsilon, .*, got None"):
        prediction_of(scheduler)
    with pytest.raises(GeneratorError, match="FlowMatchEulerDiscreteScheduler has no alphas_cumprod"):
        alphas_of(scheduler)
