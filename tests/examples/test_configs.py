"""The settings files of examples/configs: `inlay train` and `inlay config` accept each, and what it says is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inlay.recipes.commands.train.options import check_reached, given_options
from inlay.recipes.commands.train.parser import parse
from inlay.recipes.runs.config import config_of
from inlay.recipes.runs.job import Job
from inlay.recipes.systems.registry import SYSTEMS

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"
FILES = {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}


def job_of(path: Path) -> Job:
    parsed = parse([str(path)])
    job = parsed.job()
    check_reached(given_options(parsed.arguments), job.recipe, parsed.recipe.stages, job.data, job.backbone)
    return job


def test_every_system_of_the_package_has_one() -> None:
    assert set(FILES) == set(SYSTEMS)


@pytest.mark.parametrize("name", FILES)
def test_its_settings_are_those_of_the_job(name: str) -> None:
    held, job = yaml.safe_load(FILES[name].read_text(encoding="utf-8")), job_of(FILES[name])
    assert (job.recipe.system, job.recipe.size) == (name, "full")
    assert str(job.run.output) == held["output"]
    assert {field: getattr(job.backbone, field) for field in held["backbone"]} == held["backbone"]
    assert {field: _plain(getattr(job.data, field)) for field in held["data"]} == held["data"]
    for stage_name, stage in job.recipe.stages.items():
        own = held.get("stages", {}).get(stage_name, {})
        assert stage.batch_size == held["batch_size"]
        assert stage.max_steps == held.get("max_steps", stage.max_steps)
        assert stage.lr == own.get("lr", dict.fromkeys(stage.lr, held["lr"]) if "lr" in held else stage.lr)
    trained = {part for stage in job.recipe.stages.values() for part in stage.lr}
    published = SYSTEMS[name].recipe(version=job.recipe.version, size="full")
    assert trained == {part for stage in published.stages.values() for part in stage.lr}


@pytest.mark.parametrize("name", FILES)
def test_inlay_config_prints_a_file_of_the_same_job(name: str, tmp_path: Path) -> None:
    job = job_of(FILES[name])
    (tmp_path / "all.yaml").write_text(config_of(job), encoding="utf-8")
    again = job_of(tmp_path / "all.yaml")
    assert config_of(again) == config_of(job)


def _plain(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, tuple) else str(value)
