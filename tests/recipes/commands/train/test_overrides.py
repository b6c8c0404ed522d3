"""Options that set every stage, on the command line and in a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inlay.recipes.cli import main
from inlay.recipes.commands.train.parser import parse


def stages(*arguments: str) -> dict[str, Any]:
    return dict(parse(list(arguments)).job().recipe.stages)


def test_one_option_sets_every_stage_and_a_stage_s_own_goes_over_it() -> None:
    found = stages("llava", "--lr", "1e-4", "--epochs=2", "--max_steps", "7", "--stages.instruct.lr.lora=5e-4")
    assert found["align"].lr == {"inputs.image": 1e-4}
    assert found["instruct"].lr == {"inputs.image": 1e-4, "lora": 5e-4}
    assert {(stage.epochs, stage.max_steps) for stage in found.values()} == {(2.0, 7)}


def test_another_batch_size_keeps_the_forward_passes_as_small() -> None:
    found = stages("llava", "--size=full", "--batch_size=64")
    assert {(stage.batch_size, stage.accumulate) for stage in found.values()} == {(64, 2), (64, 4)}
    assert {stage.accumulate for stage in stages("llava", "--size=full", "--batch_size=4").values()} == {1}


def test_keys_of_a_yaml_file_set_every_stage_below_the_file_s_own_stages(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        yaml.safe_dump({"system": "llava", "lr": 1e-4, "batch_size": 8, "stages": {"instruct": {"batch_size": 4}}})
    )
    found = stages(str(path))
    assert [stage.batch_size for stage in found.values()] == [8, 4]
    assert found["instruct"].lr == {"inputs.image": 1e-4, "lora": 1e-4}
    assert stages(str(path), "--batch_size=16")["instruct"].batch_size == 16


def test_another_objective_brings_its_own_settings() -> None:
    chosen = ["blip2", "--stages.generate.objective.name=pformer_student", "--stages.generate.objective.align=0.5"]
    assert stages(*chosen)["generate"].objective.align == 0.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--lr", "x"], "lr"),
        (["--batch_size=0"], "batch_size, accumulate: expected a batch that accumulate divides"),
        (["--epochs"], "--epochs: expected a value, got nothing"),
        (["--stages.align.objective.name=magic"], "stages.align.objective: expected one of next_token"),
        (["--stages.align.objective.itc=1"], "--stages.align.objective.itc"),
        (["--stages.align.optimizer.floor=2"], "stages.align.optimizer: expected start and floor"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_option(capsys: Any, arguments: list[str], told: str) -> None:
    try:
        status = main(["train", "llava", *arguments])
    except SystemExit as stop:
        status = int(stop.code or 0)
    said = capsys.readouterr().err
    assert status == 2
    assert told in said.splitlines()[0]
    assert "Traceback" not in said
