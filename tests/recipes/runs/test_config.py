"""``config.yaml`` alone repeats a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.commands.train.parser import parse
from inlay.recipes.runs.config import config_of
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems.registry import SYSTEMS


@pytest.mark.parametrize("size", ["miniature", "full"])
@pytest.mark.parametrize("system", list(SYSTEMS))
def test_the_config_of_a_job_in_python_is_that_job(tmp_path: Path, system: str, size: Any) -> None:
    for version in SYSTEMS[system].versions:
        recipe = SYSTEMS[system].recipe(version=version, size=size)
        run = RunSettings(output=tmp_path / "run", name="x", seed=7)
        job = Job(recipe=recipe, run=run, backbone=BackboneSettings(), data=DataSettings(images=tmp_path))
        (tmp_path / "config.yaml").write_text(config_of(job))
        again = parse([str(tmp_path / "config.yaml")]).job()
        options = {recipe.projector: recipe.projector_options.get(recipe.projector, {})}
        assert again == replace(job, recipe=replace(recipe, projector_options=options))
