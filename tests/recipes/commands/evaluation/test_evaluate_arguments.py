"""Wrong arguments of ``inlay evaluate`` are reported before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import contextlib, io, json, sys
sys.modules["transformers"] = sys.modules["lightning"] = None  # an import raises an error
from inlay.recipes.cli import main
found = []
for arguments in json.loads(sys.argv[1]):
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            status = main(["evaluate", *arguments])
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            status = repr(error)
    found.append([status, told.getvalue()])
print(json.dumps(found))
"""
CASES = {
    "run --save_answers .": "--save_answers: expected a file in a folder that exists, got .",
    "run --results nosuch/x.json": "--results: expected a file in a folder that exists, got nosuch/x.json",
    "run --data.images test.json": "--data.images: test.json: expected a folder, got a file",
    "run --against run": "--against: expected together with --benchmark NAME; without it, evaluate each bundle",
    "run": "run: this run is not finished",
    "empty": "not a bundle",
    "run --batch_size -3": "--batch_size: expected int above 0, got -3",
    "run my.yaml": "my.yaml: more arguments than expected",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    folder = tmp_path_factory.mktemp("here")
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "test.json").write_text("[]")
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, json.dumps([text.split() for text in CASES])],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("arguments", CASES)
def test_a_wrong_argument_is_reported_at_once(told: dict[str, list[object]], arguments: str) -> None:
    status, error = told[arguments]
    assert status == 2, error
    assert CASES[arguments] in str(error)


def test_the_file_of_the_questions_is_checked_in_front_of_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inlay.recipes.cli import main
    from inlay.recipes.commands.evaluation import evaluate

    monkeypatch.setattr(evaluate, "manifest_of", lambda _: None)
    (tmp_path / "empty.json").write_text("")
    assert main(["evaluate", str(tmp_path), f"--data.test={tmp_path / 'empty.json'}"]) == 2
    assert "empty.json: empty, expected JSON" in capsys.readouterr().err
