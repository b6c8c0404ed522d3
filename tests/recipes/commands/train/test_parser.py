"""The arguments of ``inlay train``: judged at once, before anything is loaded, imported or written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_runs import run

from inlay.recipes.cli import main
from inlay.recipes.commands.train import parser as train_parser


@pytest.fixture
def begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The command of a run that has begun and has left its settings, but could not go far."""
    command = ["train", "llava", f"--output={tmp_path / 'run'}"]
    assert main(["config", *command[1:]]) == 0
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    return command


def test_a_run_does_not_go_on_with_other_settings(begun: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*begun, "--resume=true", "--stages.align.batch_size=8", "--seed=3"]) == 2
    said = capsys.readouterr().err
    assert "seed was 0 and is 3; stages.align.batch_size was 16 and is 8" in said
    assert "Traceback" not in said


def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Jobs that the command starts, instead of training."""
    jobs: list[Any] = []

    def run(job: Any, show: Any, backbone: Any, folder: Any, begin: Callable[[], object], _: Any) -> None:
        jobs.append(job)
        begin()

    monkeypatch.setattr("inlay.recipes.training.run._train", run)
    return jobs


def test_a_run_goes_on_with_more_workers(begun: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(monkeypatch)
    assert main([*begun, "--resume=true", "--data.workers=2", "--checkpoint_every=5"]) == 0
    assert [job.data.workers for job in jobs] == [2]


def test_a_run_goes_on_from_its_own_config(begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = started(monkeypatch)
    assert main(["train", str(tmp_path / "run" / "config.yaml"), "--resume=true"]) == 0
    assert [job.run.output.name for job in jobs] == ["run"]


def test_the_saved_settings_repeat_the_run_and_replace_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = started(monkeypatch)
    assert main(["train", "llava", f"--output={tmp_path / 'run'}", "--overwrite=true", "--seed=4"]) == 0
    again = ["train", str(tmp_path / "run" / "config.yaml")]
    assert main(again) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*again, f"--output={tmp_path / 'again'}"]) == 0
    assert [(job.run.seed, job.name) for job in jobs] == [(4, "run"), (4, "run")]


LIGHT = """
import sys
from inlay.recipes.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code
heavy = sorted({"torch", "transformers", "lightning", "peft"} & set(sys.modules))
print(status, *heavy)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["nosuch"],
        ["llava", "--nosuch", "1"],
        ["llava", "--stages.align.epoch", "1"],
        ["llava", "--seed", "x"],
        ["llava", "--projector", "cube"],
        ["llava", "--data.train", "nosuch.json"],
        ["llava", "--data.train", __file__, "--data.images", "nosuch"],
        ["blip2", "--data.mix", "[nosuch.json]"],
        ["llava", "--begin", "/nosuch/bundle"],
        ["llava", "--backbone.llm=/nosuch", f"--backbone.image={Path(__file__).parent}", "--data.train", __file__],
        ["nextgpt", "--name", "x" * 513],
        ["modaverse", "--output", "runs/a\u202eb"],
        ["minigpt4", "--output", str(Path(__file__).parent)],
        ["instructblip", "--resume", "true"],
    ],
)
def test_a_wrong_argument_is_reported_before_heavy_libraries_are_imported(arguments: list[str], tmp_path: Path) -> None:
    """Seconds depend on the machine; what is imported does not."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, "train", *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert done.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--name", "x" * 513], "name: not allowed in a bundle: String should have at most 512 characters"),
        (["--name", "a\u202eb"], "name: not allowed in a bundle: expected one line of plain text, got the character"),
        (["--name", "a\nb"], "got the character U+000A"),
        (["--output", "runs/a\x1b[31m"], "name (from --output, as no --name is given): not allowed in a bundle"),
        (["--seed", "-1"], "seed: expected a number from 0 to 4294967295, got -1"),
        (["--seed", "9" * 40], "seed: expected a number from 0 to 4294967295, got 9999"),
    ],
)
def test_a_name_or_seed_that_a_bundle_cannot_hold_is_refused_before_training(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "train", "llava", *arguments)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_data_file_with_a_name_that_a_bundle_cannot_hold_is_refused(capsys: Any, tmp_path: Path) -> None:
    path = tmp_path / "a\u202eb.json"
    path.write_text("[]")
    status, _, err = run(capsys, "train", "llava", f"--data.train={path}", f"--output={tmp_path / 'run'}")
    assert status == 2
    assert "data: not allowed in a bundle" in err


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB + "projector_options: {x: *i}\n", "expected at most 50,000 values, aliases expanded"),
        ("projector_options: &a {x: *a}\n", "a value contains itself"),
        ("stages: &a {align: *a}\n", "a value contains itself"),
        ('name: "a\\0b"\n', "expected text without NUL bytes"),
        ("name: a\0b\n", "unacceptable character #x0000"),
        (f"seed: {'9' * 5000}\n", "Exceeds the limit (4300 digits)"),
        ("x: " + "[" * 10_000 + "\n", "levels of nesting"),
        (
            "lora: {class_path: foreign_module.Part}\n",
            "class_path: expected plain values; settings cannot import classes",
        ),
        ("stages: {align: {class_path: foreign_module.Part}}\n", "class_path: expected plain values"),
        ("data: {class_path: foreign_module.Part, init_args: {}}\n", "class_path: expected plain values"),
        ("backbone: foreign_module.Part\n", "backbone"),
        ("lora: foreign_module.Part\n", "lora"),
        ("x: {y: [\n", "expected the node content"),
        ("#" * 200_001, "expected at most 200,000 characters"),
    ],
)
def test_yaml_that_is_more_than_settings_is_one_line_and_imports_nothing(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "foreign_module.py").write_text("class Part: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "run.yaml").write_text(f"system: llava\noutput: {tmp_path / 'run'}\n{text}")
    started(monkeypatch)
    for arguments in (["train", str(tmp_path / "run.yaml")], ["train", "llava", f"--config={tmp_path / 'run.yaml'}"]):
        status, _, err = run(capsys, *arguments)
        assert status == 2
        assert said in err
        assert len(err.splitlines()) <= 2
    assert "foreign_module" not in sys.modules


@pytest.mark.parametrize(
    "value",
    [
        "--projector_options={a: &a [1, *a]}",
        "--lora={class_path: foreign_module.Part}",
        "--lora=foreign_module.Part",
        '--lora={"class_path": "foreign_module.Part"}',
        "--lora.class_path=foreign_module.Part",
        "--stages.align={class_path: foreign_module.Part}",
        "--data.class_path=foreign_module.Part",
    ],
)
def test_a_value_of_the_command_line_is_read_like_yaml_of_a_file(
    capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    (tmp_path / "foreign_module.py").write_text("class Part: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    status, _, err = run(capsys, "train", "llava", value)
    assert status == 2
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 3
    assert "foreign_module" not in sys.modules


def test_the_projectors_of_the_package_are_those_of_its_registries() -> None:
    from inlay.adapters.inputs import PROJECTORS
    from inlay.adapters.outputs import OUTPUTS

    assert set(train_parser.PROJECTORS) <= set(PROJECTORS)
    assert set(train_parser.OUTPUTS) <= set(OUTPUTS)
    assert train_parser.kinds("inputs", ()) == tuple(PROJECTORS)
