"""The run folder: created once the inputs are loaded, gone again where a run could not begin, and never emptied."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inlay.hub.errors import InlayError
from inlay.hub.format.files import check_is_bundle
from inlay.hub.safety.atomic import replace_folder
from inlay.recipes.cli import main
from inlay.recipes.commands.train.parser import parse
from inlay.recipes.miniature import backbone_path
from inlay.recipes.miniature.datasets.pictures import build
from inlay.recipes.runs.earlier import recover, set_aside
from inlay.recipes.runs.files import entries_of
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.runs.job import Job
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import BackboneSettings, DataSettings, RunSettings
from inlay.recipes.systems import llava
from inlay.recipes.training.run import train


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
    """A run of an earlier day, of a version that wrote no marker."""
    (folder / "bundle").mkdir(parents=True)
    (folder / "bundle" / "inlay.json").write_text("{}")
    (folder / "logs" / "align-csv" / "version_0").mkdir(parents=True)
    (folder / "logs" / "align-csv" / "version_0" / "metrics.csv").write_text("step,loss\n")
    (folder / "config.yaml").write_text("system: llava\ndata:\n  train: null\n")
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 1.0}))
    build(folder / "data", 0, scenes=1, test_scenes=1, digits=1, test_digits=1)
    return folder


def bytes_in(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, bit for bit."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings(output: Path, **fields: Any) -> RunSettings:
    return RunSettings(output=output, **fields)


@contextmanager
def run(output: Path, said: list[str] | None = None, **fields: Any) -> Iterator[RunFolder]:
    """The time in which a run writes, after it has begun."""
    chosen = settings(output, **fields)
    folder = RunFolder.check(chosen)
    show: Callable[[str], None] = print if said is None else said.append
    with folder.writing(chosen, "system: llava\ndata:\n  train: null\n", show) as begin:
        begin()
        yield folder


def trained(folder: RunFolder, accuracy: float = 0.5) -> None:
    """What a run writes while it trains and at its end."""
    folder.checkpoint("align").parent.mkdir(parents=True)
    folder.checkpoint("align").write_bytes(b"numbers")
    folder.bundle.mkdir()
    (folder.bundle / "inlay.json").write_text("{}")
    folder.write_metrics({"accuracy": accuracy})


def checkpointed(folder: RunFolder, error: BaseException) -> None:
    """A run that fails after its first checkpoint."""
    folder.checkpoint("align").parent.mkdir(parents=True)
    folder.checkpoint("align").write_bytes(b"numbers")
    raise error


def drawn(folder: RunFolder, error: BaseException) -> None:
    """A run that fails after it has written its settings and drawn its data."""
    assert folder.config.is_file()
    build(folder.data, 0, scenes=1, test_scenes=1, digits=1, test_digits=1)
    raise error


def with_a_stranger(folder: RunFolder) -> None:
    """A run that fails after somebody else has put a file among its data."""
    folder.data.mkdir()
    (folder.data / "mine.txt").write_text("put here meanwhile")
    raise InlayError("x")


def logged(folder: RunFolder) -> None:
    """A run that fails while it trains."""
    folder.logs.mkdir()
    raise InlayError("the loss is not finite")


def test_a_truncated_language_model_is_named_and_leaves_no_folder(command: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(command()) == 2
    error = capsys.readouterr().err
    assert "llm: no language model could be loaded: a safetensors file is truncated or damaged" in error
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_is_untouched_until_the_inputs_of_the_next_are_loaded(command: Any, tmp_path: Path) -> None:
    before = bytes_in(finished(tmp_path / "run"))
    assert main(command("--overwrite=true")) == 2
    assert bytes_in(tmp_path / "run") == before


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project that happens to hold a config.yaml of ours."""
    root = tmp_path / "project"
    for name in (".git/HEAD", "src/model.py", "data/train.json", "logs/notes.txt", "bundle/inlay.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"precious {name}")
    (root / "config.yaml").write_text("system: llava\n")
    return root


@pytest.mark.parametrize("typo", ["--data.train=nosuch.json", "--seed=0"])
def test_a_project_with_a_config_yaml_is_refused_and_untouched(project: Path, capsys: Any, typo: str) -> None:
    before = bytes_in(project)
    assert main(["train", "llava", f"--output={project}", "--overwrite=true", typo]) == 2
    said = capsys.readouterr().err
    assert "nosuch.json" in said if "nosuch" in typo else "files that no run has written: " in said
    assert bytes_in(project) == before


def test_a_config_yaml_with_nothing_of_a_run_beside_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("system: llava\n")
    with pytest.raises(SettingsError, match="but no other file of a run"):
        RunFolder.check(settings(tmp_path, overwrite=True))


@pytest.mark.parametrize(
    "stranger", ["notes.md", "bundle/notes.md", "checkpoints/align/best.ckpt", "data/mine.json", ".git/HEAD"]
)
def test_a_run_folder_without_a_marker_holds_nothing_but_the_files_of_a_run(tmp_path: Path, stranger: str) -> None:
    root = finished(tmp_path / "run")
    RunFolder.check(settings(root, overwrite=True))
    (root / stranger).parent.mkdir(parents=True, exist_ok=True)
    (root / stranger).write_text("mine")
    with pytest.raises(SettingsError, match=f"no run has written: '{stranger}'"):
        RunFolder.check(settings(root, overwrite=True))


def test_data_beside_a_run_that_was_given_files_are_not_the_runs(tmp_path: Path) -> None:
    root = finished(tmp_path / "run")
    (root / "config.yaml").write_text("system: llava\ndata:\n  train: data/train.json\n")
    with pytest.raises(SettingsError, match="no run has written: 'data/"):
        RunFolder.check(settings(root, overwrite=True))


def test_a_link_is_no_file_of_a_run(tmp_path: Path) -> None:
    root = finished(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (root / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="no run has written: 'checkpoints'"):
        RunFolder.check(settings(root, overwrite=True))


def test_a_finished_run_replaces_the_files_of_the_earlier_one_and_no_other(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with run(root) as folder:
        trained(folder, 0.1)
        folder.data.mkdir()
    (root / "notes.md").write_text("mine")
    (root / "src").mkdir()
    (root / "src" / "model.py").write_text("mine too")
    with run(root, overwrite=True) as folder:
        trained(folder, 0.2)
    assert json.loads(folder.metrics.read_text()) == {"accuracy": 0.2}
    assert (root / "notes.md").read_text() == "mine"
    assert (root / "src" / "model.py").read_text() == "mine too"
    assert {path.name for path in root.iterdir()} == {
        *("notes.md", "src", ".inlay-run", "config.yaml", "bundle", "checkpoints", "metrics.json")
    }


FAILURES = [InlayError("the loss is not finite"), OSError(28, "No space left"), KeyboardInterrupt(), RuntimeError("x")]


@pytest.mark.parametrize("error", FAILURES)
def test_the_earlier_run_comes_back_bit_for_bit_when_the_new_one_fails(tmp_path: Path, error: BaseException) -> None:
    root = finished(tmp_path / "run")
    before = bytes_in(root)
    with pytest.raises(type(error)), run(root, overwrite=True):
        raise error
    assert bytes_in(root) == before


@pytest.mark.parametrize("error", FAILURES)
def test_what_a_failed_run_has_trained_is_kept_beside_the_earlier_run_and_can_go_on(
    tmp_path: Path, error: BaseException
) -> None:
    root = finished(tmp_path / "run")
    before = bytes_in(root)
    said: list[str] = []
    with pytest.raises(type(error)), run(root, said, overwrite=True) as folder:
        checkpointed(folder, error)
    place = root / "unfinished"
    assert {name: data for name, data in bytes_in(root).items() if not name.startswith("unfinished")} == before
    assert RunFolder(place).checkpoint("align").read_bytes() == b"numbers"
    assert any(f"inlay train {place / 'config.yaml'} --output={place} --resume=true" in line for line in said)
    RunFolder.check(settings(place, resume=True))


def test_files_in_the_middle_of_a_failed_run_are_kept(tmp_path: Path) -> None:
    root = finished(tmp_path / "run")
    before = bytes_in(root)
    with pytest.raises(InlayError), run(root, overwrite=True) as folder:
        with_a_stranger(folder)
    after = bytes_in(root)
    assert {name: after.pop(name) for name in list(after) if name.endswith("mine.txt")} == {
        "unfinished/data/mine.txt": b"put here meanwhile"
    }
    assert after == before


def killed(root: Path, *, begun: bool) -> None:
    """What a process leaves that is killed while it replaces a run."""
    set_aside(root)
    if begun:
        (root / ".inlay-run").write_text("inlay run 1\n")
        (root / "config.yaml").write_text("system: llava\n")
        (root / "checkpoints" / "align").mkdir(parents=True)
        (root / "checkpoints" / "align" / "last.ckpt").write_bytes(b"numbers")


@pytest.mark.parametrize("begun", [False, True])
def test_after_a_kill_the_next_run_that_fails_leaves_the_earlier_one_in_its_place(tmp_path: Path, begun: bool) -> None:
    root = finished(tmp_path / "run")
    before = bytes_in(root)
    killed(root, begun=begun)
    with pytest.raises(InlayError), run(root, overwrite=True):
        raise InlayError("x")
    assert {name: data for name, data in bytes_in(root).items() if not name.startswith("unfinished")} == before
    assert (root / "unfinished" / "checkpoints" / "align" / "last.ckpt").exists() == begun


def test_a_kill_between_two_renames_loses_nothing(tmp_path: Path) -> None:
    for moved in range(6):
        root = finished(tmp_path / f"run{moved}")
        before = bytes_in(root)
        (root / ".earlier").mkdir()
        for name in entries_of(root)[:moved]:
            (root / name).rename(root / ".earlier" / name)
        recover(root, print)
        assert bytes_in(root) == before


def test_after_a_kill_the_new_run_goes_on_and_replaces_the_earlier_one_when_it_has_finished(tmp_path: Path) -> None:
    root = finished(tmp_path / "run")
    killed(root, begun=True)
    with run(root, resume=True) as folder:
        folder.write_metrics({"accuracy": 0.7})
    assert not (root / ".earlier").exists()
    assert json.loads(folder.metrics.read_text()) == {"accuracy": 0.7}


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with (
        run(root) as folder,
        pytest.raises(SettingsError, match="another run is writing"),
        run(root, overwrite=True),
    ):
        pass
    assert folder.config.is_file()


def test_a_run_that_finds_its_folder_taken_when_it_begins_removes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "run"
    folder = RunFolder.check(settings(root))
    with pytest.raises(KeyboardInterrupt), run(root) as other:
        drawn(other, KeyboardInterrupt())
    before = bytes_in(root)
    with folder.writing(settings(root), "", print) as begin, pytest.raises(SettingsError, match="exists already"):
        begin()
    with pytest.raises(SettingsError, match="exists already"), folder.writing(settings(root), "", print) as begin:
        begin()
    assert bytes_in(root) == before


def test_a_bundle_is_saved_while_the_run_holds_its_folder(tmp_path: Path) -> None:
    with run(tmp_path / "run") as folder:
        replace_folder(folder.bundle, {"inlay.json": b"{}"}, overwrite=False, check_old=check_is_bundle)
    assert (folder.bundle / "inlay.json").is_file()


def test_an_input_inside_the_run_that_is_replaced_is_refused(tmp_path: Path, capsys: Any) -> None:
    root = finished(tmp_path / "run")
    before = bytes_in(root)
    command = ["train", "llava", f"--output={root}", "--overwrite=true", f"--data.train={root / 'data' / 'train.json'}"]
    assert main(command) == 2
    assert "belongs to the run in" in capsys.readouterr().err
    assert bytes_in(root) == before


@pytest.mark.parametrize(
    ("error", "left"),
    [(InlayError("a wrong setting"), False), (OSError("disk full"), True), (KeyboardInterrupt(), True)],
)
def test_a_run_that_is_refused_before_it_trains_leaves_no_folder_and_one_that_is_broken_off_can_go_on(
    tmp_path: Path, error: BaseException, left: bool
) -> None:
    with pytest.raises(type(error)), run(tmp_path / "run") as folder:
        drawn(folder, error)
    assert (tmp_path / "run").exists() == left


def test_a_run_that_fails_while_it_trains_keeps_its_folder(tmp_path: Path) -> None:
    with pytest.raises(InlayError), run(tmp_path / "run") as folder:
        logged(folder)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".inlay-run", "config.yaml", "logs"]


def test_wrong_data_settings_are_refused_before_anything_is_loaded(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "x.json").write_text("[]")
    run = finished(tmp_path / "run")
    command = ["train", "llava", f"--output={run}", "--overwrite=true", f"--data.align={tmp_path / 'x.json'}"]
    assert main(command) == 2
    assert "these files need --data.train" in capsys.readouterr().err
    assert (run / "metrics.json").is_file()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        recipe=llava.recipe(),
        run=RunSettings(output=tmp_path / "run"),
        backbone=BackboneSettings(),
        data=DataSettings(),
    )


def test_train_in_python_keeps_to_the_rules_of_the_command_line(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings in config.yaml, no silent replacement, the earlier run back after a failure."""
    monkeypatch.setattr("inlay.recipes.training.run._train", lambda *given: trained(given[4]()))
    train(job)
    folder = RunFolder(tmp_path / "run")
    before = bytes_in(folder.root)
    told = replace(job, run=replace(job.run, name="run"), recipe=replace(job.recipe, projector_options={"mlp": {}}))
    assert parse([str(folder.config)]).job() == told
    with pytest.raises(SettingsError, match="exists already"):
        train(job)
    assert bytes_in(folder.root) == before

    def fail(*arguments: Any) -> None:
        arguments[-2]()
        raise InlayError("x")

    monkeypatch.setattr("inlay.recipes.training.run._train", fail)
    with pytest.raises(InlayError, match="x"):
        train(replace(job, run=replace(job.run, overwrite=True)))
    assert bytes_in(folder.root) == before


def test_a_plot_replaces_no_other_file(tmp_path: Path, capsys: Any) -> None:
    root = finished(tmp_path / "run")
    for target in (tmp_path / "photo.png", tmp_path / "notes.txt", root / "plot.png"):
        target.write_bytes(b"mine")
        named = [] if target.parent == root else [f"--output={target}"]
        assert main(["plot", str(root), *named]) == 2
        assert "exists, and was not written by `inlay plot`" in capsys.readouterr().err
        assert target.read_bytes() == b"mine"
