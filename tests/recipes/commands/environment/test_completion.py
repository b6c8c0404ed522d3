"""Shell completion: bash completes commands, options, values and files by the script that is printed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inlay.recipes.cli import COMMANDS, main
from inlay.recipes.commands.arguments.built_parser import parser_of

BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="bash is not installed")
LIGHT = """
import json, sys, time
for heavy in ("torch", "transformers", "datasets", "lightning"):
    sys.modules[heavy] = None  # an import raises an error
from inlay.recipes.cli import main
sys.exit(main(["completion", sys.argv[1]]))
"""
COMPLETE = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
function_name=$(complete -p inlay | sed -E 's/.* -F ([^ ]+) .*/\\1/')
"$function_name"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Shell -> its script, printed by processes that cannot import torch."""
    folder, found = tmp_path_factory.mktemp("completion"), {}
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run([sys.executable, "-P", "-c", LIGHT, shell], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found[shell] = folder / shell
        found[shell].write_text(done.stdout, encoding="utf-8")
    return found


def completed(script: Path, *words: str, folder: Path | None = None) -> list[str]:
    """What bash offers for the last word."""
    done = subprocess.run(
        [str(BASH), "-c", COMPLETE, "bash", str(script), "inlay", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return sorted(done.stdout.split())


@needs_bash
def test_bash_completes_every_command(scripts: dict[str, Path]) -> None:
    assert completed(scripts["bash"], "") == sorted(COMMANDS)


@needs_bash
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("tr",), ["train"]),
        (("train", "ll"), ["llava"]),
        (("train", "llava", "--precision", "bf16"), ["bf16-mixed", "bf16-true"]),
        (("train", "llava", "--resume", ""), ["false", "true"]),
        (("train", "llava", "--data.test_"), ["--data.test_annotations", "--data.test_size"]),
        # A stage of another system than the one whose parser gives the settings.
        (("train", "blip2", "--stages.represent.batch"), ["--stages.represent.batch_size"]),
        (("config", "align", "--second"), ["--second_lora"]),
        (("check", "llava", "--pag"), ["--page"]),
        (("inspect", "runs/x", "--te"), ["--tensors"]),
        (("completion", "z"), ["zsh"]),
        (("doctor", "--js"), ["--json"]),
    ],
)
def test_bash_completes(scripts: dict[str, Path], words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(scripts["bash"], *words) == expected


@needs_bash
@pytest.mark.parametrize(
    "words", [("train", "my"), ("inspect", "my"), ("plot", "my"), ("train", "llava", "--output", "my")]
)
def test_bash_completes_files(scripts: dict[str, Path], tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "my.yaml").touch()
    assert completed(scripts["bash"], *words, folder=tmp_path) == ["my.yaml"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_command_and_its_options(scripts: dict[str, Path], shell: str) -> None:
    text = scripts[shell].read_text(encoding="utf-8")
    assert [name for name in COMMANDS if name not in text] == []
    assert "bf16-mixed" in text
    assert "stages.represent.batch_size" in text


def test_every_command_gives_its_parser() -> None:
    wrong = []
    for command in COMMANDS:
        own = ("llava",) if command in ("train", "config", "check") else ()
        wrong += [] if parser_of(command, *own).prog.startswith(f"inlay {command}") else [command]
    assert wrong == []


def test_a_parser_is_restored_after_it_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    parser_of("search")
    assert main(["search", "--cache_only", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "csh"])
    assert "expected one of 'bash', 'zsh', 'fish', got csh" in capsys.readouterr().err
