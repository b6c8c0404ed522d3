"""The command that starts a program again, from each of the ways to start one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SHOW = "import json; from inlay.recipes.distributed.program import program; print(json.dumps(program()))"


def test_the_program_is_started_again_as_it_was_started(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SHOW)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(SHOW)
    path = str(tmp_path / "mine.py")
    for started, again in {
        ("mine.py", "--seed", "3"): [path, "--seed", "3"],
        ("-P", path, "-c", "x"): ["-P", path, "-c", "x"],
        ("-m", "package", "a b"): ["-m", "package", "a b"],
        ("-c", SHOW, "train"): ["-c", SHOW, "train"],
    }.items():
        done = subprocess.run([sys.executable, *started], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert json.loads(done.stdout) == [sys.executable, *again]


def test_a_notebook_and_an_interactive_session_are_told_to_use_a_script(tmp_path: Path) -> None:
    text = "from inlay.recipes.distributed.program import program; program(2)\n"
    done = subprocess.run([sys.executable, "-i"], input=text, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "cannot be run again; write these lines into a script (python train.py)" in done.stderr
    done = subprocess.run([sys.executable, "-"], input=text, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "cannot be run again" in done.stderr
