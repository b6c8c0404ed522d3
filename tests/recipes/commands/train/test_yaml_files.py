"""YAML files of settings: as the first argument, or with ``--config`` behind a system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inlay.recipes.cli import main
from inlay.recipes.commands.train.parser import parse


@pytest.fixture
def file_of(tmp_path: Path) -> Any:
    def make(name: str = "my.yaml", **settings: Any) -> str:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(settings))
        return str(path)

    return make


def test_a_file_of_config_decides_size_rates_and_objectives_as_the_first_argument_does(file_of: Any) -> None:
    settings = {"size": "full", "lr": 0.1, "stages": {"align": {"objective": {"name": "pformer_teacher"}}}}
    first = parse([file_of(system="llava", **settings)]).job()
    option = parse(["llava", "--config", file_of("other.yaml", **settings)]).job()
    assert option == first
    assert option.recipe.size == "full"
    assert option.recipe.stages["align"].lr["inputs.image"] == 0.1


def test_a_later_file_is_preferred_and_keeps_other_settings(file_of: Any) -> None:
    one = file_of(seed=3, data={"workers": 1, "cache_mib": 7})
    two = file_of("two.yaml", data={"workers": 2})
    job = parse(["llava", f"--config={one}", "--config", two]).job()
    assert (job.run.seed, job.data.workers, job.data.cache_mib) == (3, 2, 7)


def test_an_option_overrides_a_file_behind_it(file_of: Any) -> None:
    assert parse(["llava", "--seed", "5", "--config", file_of(seed=3)]).job().run.seed == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compact", "{file}"],
            "{file}: expected an option in front of a file of settings; give it as --config {file}",
        ),
        (["compact", "--config", "{file}"], "{file}: system: expected compact, the first argument, got 'llava'"),
        (["nosuch.yaml"], "nosuch.yaml: expected a YAML file of settings: there is no such file"),
    ],
)
@pytest.mark.parametrize("command", ["check", "train"])
def test_a_file_in_the_wrong_place_is_explained(
    file_of: Any, capsys: Any, command: str, arguments: list[str], message: str
) -> None:
    file = file_of(system="llava")
    try:
        status = main([command, *(word.format(file=file) for word in arguments)])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    assert message.format(file=file) in capsys.readouterr().err
