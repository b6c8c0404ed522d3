"""``--import``: a user's own file, imported before the arguments of a command are checked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inlay.recipes.cli import main
from inlay.recipes.commands.arguments.own_parts import import_own_parts
from inlay.recipes.settings.errors import SettingsError

pytestmark = pytest.mark.usefixtures("own_registrations")


def test_files_and_modules_are_imported_once_and_taken_out_of_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_one.py").write_text("import own_two\n")
    (tmp_path / "own_two.py").write_text("times = globals().get('times', 0) + 1\n")
    monkeypatch.chdir(tmp_path)
    given = [
        "llava",
        "--import",
        "own_one.py",
        "--seed",
        "3",
        "--import=own_two",
        "--import",
        str(tmp_path / "own_two.py"),
    ]
    assert import_own_parts(given) == ["llava", "--seed", "3"]
    assert sys.modules["own_two"].times == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError: division by zero ({}, line 2)"),
        ("import nosuchmodule\n", "ModuleNotFoundError: No module named 'nosuchmodule' ({}, line 1)"),
        ("def f(:\n", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "own_bad.py"
    path.write_text(text)
    assert main(["train", "llava", "--import", str(path)]) == 2
    err = capsys.readouterr().err
    assert said.format(path) in err
    assert len(err.splitlines()) == 1
    assert "own_bad" not in sys.modules


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--import"], "expected a Python file or the name of a module"),
        (["--import", "--seed"], "expected a Python file or the name of a module"),
        (["--import=own_nosuch.py"], "no such file"),
        (["--import=own_nosuch"], "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_found_is_said(arguments: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        import_own_parts(arguments)


def test_a_file_with_the_name_of_another_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit\n")
    with pytest.raises(SettingsError, match="another module has the name json; rename the file"):
        import_own_parts(["--import", str(tmp_path / "json.py")])


@pytest.mark.parametrize("command", ["train", "evaluate", "chat"])
def test_the_help_of_a_command_names_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--import FILE.py|MODULE" in capsys.readouterr().out.replace("\n", " ")


def test_the_environment_names_modules_for_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("own_first", "own_second"):
        (tmp_path / f"{name}.py").write_text("")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("INLAY_IMPORT", "own_first, own_second")
    assert import_own_parts(["llava"]) == ["llava"]
    assert {"own_first", "own_second"} <= set(sys.modules)


def test_an_error_of_a_module_of_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INLAY_IMPORT", "no_such_module_here")
    with pytest.raises(SettingsError, match="INLAY_IMPORT: no_such_module_here cannot be imported"):
        import_own_parts([])
