"""A run that was trained on folders is used without naming them again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inlay.recipes.cli import main


@pytest.fixture(scope="module")
def run(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``project/runs/mine``, trained on ``project/models/tiny-llm`` and ``models/tiny-eye``, named from ``project``."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(folders["llama"], root / "models" / "tiny-llm")
    shutil.copytree(folders["eva"], root / "models" / "tiny-eye")
    data = folders["data"]
    arguments = ["train", "llava", "--backbone.llm=models/tiny-llm", "--backbone.image=models/tiny-eye"]
    arguments += [f"--data.train={data / 'train.json'}", f"--data.images={data / 'images'}", "--evaluate=false"]
    arguments += ["--stages.instruct.max_steps=1", "--stages.instruct.batch_size=2", "--stages.instruct.accumulate=1"]
    arguments += ["--order=instruct", "--output=runs/mine", "--accelerator=cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(arguments) == 0
    return root / "runs" / "mine"


def test_chat_finds_the_folders_of_a_run_from_its_settings(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["--question=what is shown?", "--max_new_tokens=2"]
    monkeypatch.chdir(run.parent.parent)
    assert main(["chat", "runs/mine", *ask]) == 0
    assert main(["chat", "runs/mine/bundle", *ask]) == 0
    monkeypatch.chdir(tmp_path)  # relative names are looked up from the folders above the run, too
    assert main(["chat", str(run), *ask]) == 0, capsys.readouterr().err


def test_evaluate_and_verify_find_them_too(
    run: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent.parent)
    data = folders["data"]
    held_out = [f"--data.test={data / 'test.json'}", f"--data.images={data / 'images'}", "--max_new_tokens=1"]
    assert main(["evaluate", "runs/mine", *held_out]) == 0, capsys.readouterr().err
    assert main(["verify", "runs/mine"]) == 0, capsys.readouterr().err


def test_a_folder_that_is_gone_is_named_with_its_option(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert main(["chat", "moved", "--question=what?"]) == 2
    said = capsys.readouterr().err
    assert "moved/config.yaml: this run was trained on models/tiny-llm, which does not exist" in said
    assert "--backbone.llm" in said
    assert len(said.splitlines()) == 1


def test_models_that_are_named_come_before_those_of_the_run(
    run: Path, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    named = [f"--backbone.llm={folders['llama']}", f"--backbone.image={folders['eva']}"]
    assert main(["chat", "moved", "--question=what?", "--max_new_tokens=2", *named]) == 0
