"""Checks of a run before Lightning, data and models: the whole command in a process that cannot import Lightning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.commands.train.early_checks import check_early
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.recipe import Recipe
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems.registry import SYSTEMS

CODE = """
import contextlib, io, json, sys
sys.modules["lightning"] = None  # an import raises an error
light = {"torch", "transformers"}
from inlay.recipes.cli import main
found = []
for arguments in json.loads(sys.argv[1]):
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            status = repr(error)
    found.append([status, told.getvalue(), bool(light & set(sys.modules))])
print(json.dumps(found))
"""
LIGHT = {
    "--patience=2": "patience, best: these settings need validations",
    "--dtype=int8": "dtype: int8 needs held-out conversations",
    "--template=nosuch": "template: expected auto or one of plain",
    "--data.images=train.json": "data.images: train.json: expected a folder, got a file",
    "--data.objects=images": "data.objects: images: expected a file, got a folder",
    "--precision=bf16-true --backbone.dtype=float32": "precision bf16-true needs frozen models in bfloat16",
    "--begin=images": "begin: ",
    "--lora.r=-1": "lora.r: expected an integer from 1 to 1024, got -1",
    "--stages.align.objective.name=grpo --stages.align.objective.reward=nosuch:score": "nosuch cannot be imported",
    "--stages.align.objective.name=preference --stages.align.objective.options={beta: x}": (
        "stages.align: sigmoid: beta: expected a number, got 'x'"
    ),
    "--stages.align.objective.name=preference --stages.align.objective.options={nosuch: 1}": (
        "stages.align: sigmoid: expected settings among beta"
    ),
}
"""Options of ``check llava`` that need no torch -> error."""
HEAVY = {
    "--data.format=nosuch": "data.format: expected one of ",
    "--data.columns=bad": "data.columns: expected NAME=COLUMN",
    "--data.columns=question=nosuch": "train.json: no column 'nosuch' in its first rows",
    "--data.test=empty.json": "empty.json: empty, expected JSON",
    "--data.test=broken.json": "broken.json: ",
    "--data.test=none.json": "none.json: expected at least one record, got none",
    "--projector_options={depth: -3}": "projector_options: mlp: depth: expected an integer from 1 to 128, got -3",
    "--projector_options={nosuch: 1}": "projector_options: mlp: there is no field nosuch",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Options -> exit status, error, whether torch or transformers was imported."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "images").mkdir()
    turns = [{"from": "human", "value": "what is it?"}, {"from": "gpt", "value": "a star"}]
    (folder / "train.json").write_text(json.dumps([{"id": "0", "conversations": turns}]))
    (folder / "empty.json").write_text("")
    (folder / "none.json").write_text("[]")
    (folder / "broken.json").write_text("[{'no JSON'")
    commands = [
        [command, "llava", "--data.train=train.json", *text.split(" --")]
        for text in (*LIGHT, *HEAVY)
        for command in ("check",)
    ]
    commands = [
        [*head[:3], *(word if word.startswith("--") else f"--{word}" for word in head[3:])] for head in commands
    ]
    commands += [["train", *commands[0][1:]]]
    commands += [["check", "nextgpt", option] for option in GENERATING]
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return dict(zip((*LIGHT, *HEAVY, "train", *GENERATING), json.loads(done.stdout), strict=True))


GENERATING = {
    "--output_options={nosuch: 3}": "output_options: transformer: there is no field nosuch",
    "--signals={image: -4}": "signals.image: transformer: signals: expected an integer from 1 to 4096, got -4",
    "--signals={nosuch: 4}": "signals: expected modalities among image, audio, video, got 'nosuch'",
}


@pytest.mark.parametrize("options", LIGHT)
def test_a_wrong_setting_is_reported_without_torch(told: dict[str, list[Any]], options: str) -> None:
    status, error, heavy = told[options]
    assert status == 2, error
    assert LIGHT[options] in error
    assert not heavy


@pytest.mark.parametrize("options", HEAVY | GENERATING)
def test_a_wrong_format_file_or_option_is_reported_without_lightning(told: dict[str, list[Any]], options: str) -> None:
    status, error, _ = told[options]
    assert status == 2, error
    assert (HEAVY | GENERATING)[options] in error


def test_train_checks_in_the_same_order(told: dict[str, list[Any]]) -> None:
    assert told["train"][:2] == [2, told["--patience=2"][1].replace("inlay check", "inlay train")]


def _recipes() -> list[Recipe]:
    return [
        system.recipe(version=version, size=size)
        for system in SYSTEMS.values()
        for version in system.versions
        for size in ("miniature", "full")
    ]


@pytest.mark.parametrize("recipe", _recipes(), ids=lambda recipe: f"{recipe.system}-{recipe.version}-{recipe.size}")
def test_the_options_of_every_recipe_are_valid_without_widths(recipe: Recipe) -> None:
    from inlay.recipes.runs.part_options import check_part_options

    check_part_options(recipe)


def test_a_data_file_of_one_object_is_not_parsed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inlay.recipes.data.formats import read

    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": [], "annotations": []}))
    monkeypatch.setattr(read, "parse", lambda *_: pytest.fail("the file is parsed"))
    read.check_beginning(path)


def test_shards_of_captions_are_left_to_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []
    monkeypatch.setattr("inlay.recipes.data.formats.read.check_beginning", lambda path, *_: seen.append(path))
    for name in ("00.tar", "train.json"):
        (tmp_path / name).write_bytes(b"no data")
    data = DataSettings(align=tmp_path / "00.tar", train=tmp_path / "train.json", images=tmp_path)
    run = RunSettings(output=tmp_path / "run", evaluate=False)
    job = Job(recipe=SYSTEMS["llava"].recipe(), run=run, backbone=BackboneSettings(), data=data)
    check_early(job, own_models=True)
    assert seen == [tmp_path / "train.json"]
