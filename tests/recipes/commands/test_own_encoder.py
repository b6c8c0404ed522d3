"""Encoders from ``--import`` are found by every command; loaded models choose the default settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from registries import forgotten

from inlay.recipes.cli import main
from inlay.recipes.commands.train import command

EXAMPLE = Path(__file__).parents[3] / "examples" / "extend" / "own_encoder.py"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The option that imports the example's encoder under a name of its own."""
    path = tmp_path_factory.mktemp("own") / "own_eye_of_a_test.py"
    path.write_text(EXAMPLE.read_text().replace("raw_patches", "eye_of_a_test"))
    with forgotten():
        yield ["--import", str(path)]


@pytest.fixture(scope="module")
def run(own: list[str], folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with this encoder."""
    root, data = tmp_path_factory.mktemp("eye"), folders["data"]
    (root / "patches").mkdir()
    (root / "patches" / "config.json").write_text('{"model_type": "eye_of_a_test", "patch": 8}')
    arguments = ["train", "llava", *own, f"--backbone.llm={folders['llama']}", f"--backbone.image={root / 'patches'}"]
    arguments += [f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}", "--data.test_size=2"]
    assert main([*arguments, "--max_steps=1", f"--output={root / 'run'}", "--accelerator=cpu"]) == 0
    return root / "run"


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "{run}", "--question=what?", "--max_new_tokens=2"],
        ["evaluate", "{run}", "--max_new_tokens=1"],
        ["verify", "{run}"],
        ["quantise", "{run}", "{out}", "--limit=9"],
        ["inspect", "{run}"],
        ["check", "{run}/config.yaml", "--output={out}"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_finds_it(
    arguments: list[str],
    own: list[str],
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # evaluate writes answers that no metric scores into the working folder
    given = [part.format(run=run, out=tmp_path / "out") for part in arguments]
    assert main([given[0], *own, *given[1:]]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("size", ["full", "miniature"])
def test_training_from_python_takes_the_settings_that_fit_the_models(
    size: str, folders: dict[str, Path], eva_backbone_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = eva_backbone_of("llama")
    if size == "miniature":
        backbone.llm.source = "inlay-miniature/llama"
    found: list[Any] = []
    monkeypatch.setattr("inlay.recipes.training.run.train", lambda job, **_: found.append(job))
    data = folders["data"]
    files = [f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}"]
    assert command.main(["llava", *files, f"--output={tmp_path / 'run'}"], backbone=backbone) == 0
    assert found[0].recipe.size == size
    assert (found[0].recipe.stages["align"].batch_size == 256) == (size == "full")


def test_the_settings_of_a_run_name_the_copies(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]
    assert main(["config", "llava", *models, "--backbone.llm_id=lmsys/vicuna-7b-v1.5"]) == 0
    held = yaml.safe_load(capsys.readouterr().out)
    assert held["backbone"]["llm_id"] == "lmsys/vicuna-7b-v1.5"
    alone = [f"--backbone.llm={folders['llama']}", f"--data.train={folders['data'] / 'train.json'}"]
    assert main(["train", "llava", *alone, f"--output={tmp_path / 'x'}"]) == 2
    assert "--backbone.llm needs --backbone.image too" in capsys.readouterr().err
