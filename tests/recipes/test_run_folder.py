"""The run folder: created once the inputs are loaded, and gone again where a run could not begin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inlay.hub.errors import InlayError
from inlay.recipes import train_command
from inlay.recipes.cli import main
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.build import build
from inlay.recipes.run_folder import RunFolder


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., list[str]]:
    """``inlay train`` on data of the user's own, with an LLM folder whose weights are cut off."""
    build(tmp_path / "world", 0, scenes=2, test_scenes=2, digits=1, test_digits=1)
    llm = tmp_path / "llm"
    llm.mkdir()
    for file in backbone_path("llama").iterdir():
        held = file.read_bytes()
        (llm / file.name).write_bytes(held[: len(held) // 2] if file.suffix == ".safetensors" else held)
    files = [f"--data.{name}={tmp_path / 'world' / name}.json" for name in ("align", "train", "test")]
    models = [f"--backbone.llm={llm}", f"--backbone.image={backbone_path('clip')}", "--size=miniature"]
    fixed = [*files, f"--data.images={tmp_path / 'world' / 'images'}", *models, f"--output={tmp_path / 'run'}"]
    return lambda *further: ["train", "llava", *fixed, *further]


def finished(folder: Path) -> Path:
    """A run of an earlier day."""
    (folder / "bundle").mkdir(parents=True)
    (folder / "config.yaml").write_text("system: llava\n")
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 1.0}))
    return folder


def test_a_truncated_language_model_is_named_and_leaves_no_folder(command: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(command()) == 2
    error = capsys.readouterr().err
    assert "llm: no language model could be loaded: a safetensors file is truncated or damaged" in error
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_kept_until_the_inputs_of_the_next_are_loaded(command: Any, tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    assert main(command("--overwrite=true")) == 2
    assert json.loads((run / "metrics.json").read_text()) == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("error", "left"),
    [(InlayError("a wrong setting"), False), (OSError("disk full"), True), (KeyboardInterrupt(), True)],
)
def test_a_run_that_is_refused_before_it_trains_leaves_no_folder_and_one_that_is_broken_off_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, left: bool
) -> None:
    def train(job: Any, *, backbone: Any, prepare: Callable[[], None]) -> None:
        assert not job.run.output.exists()
        prepare()
        assert RunFolder(job.run.output).config.is_file()
        RunFolder(job.run.output).data.mkdir()  # as the miniature's data are drawn
        raise error

    monkeypatch.setattr(train_command, "train", train)
    with pytest.raises(type(error)):
        train_command.main(["llava", f"--output={tmp_path / 'run'}"])
    assert (tmp_path / "run").exists() == left


def test_a_run_that_fails_while_it_trains_keeps_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(job: Any, *, backbone: Any, prepare: Callable[[], None]) -> None:
        prepare()
        RunFolder(job.run.output).logs.mkdir()
        raise InlayError("the loss is not finite")

    monkeypatch.setattr(train_command, "train", train)
    with pytest.raises(InlayError):
        train_command.main(["llava", f"--output={tmp_path / 'run'}"])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.yaml", "logs"]


def test_wrong_data_settings_are_refused_before_anything_is_loaded(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "x.json").write_text("[]")
    run = finished(tmp_path / "run")
    command = ["train", "llava", f"--output={run}", "--overwrite=true", f"--data.align={tmp_path / 'x.json'}"]
    assert main(command) == 2
    assert "files of your own go with --data.train" in capsys.readouterr().err
    assert (run / "metrics.json").is_file()
