"""Every command reports a wrong option and a missing folder before it imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inlay.recipes.cli import COMMANDS

MISSING = {
    **{name: ["./nosuch"] for name in ("evaluate", "chat", "demo", "serve", "inspect", "verify", "picture")},
    "pairs": ["./nosuch", "--output=pairs.json"],
    "serve mine=": ["mine=./nosuch"],
    "diff": ["./nosuch", "./other"],
    "quantise": ["./nosuch", "out"],
    "sign": ["./nosuch", "--key=key.pem"],
    "push": ["./nosuch", "me/x"],
    "gallery": ["./nosuch", "--output=out"],
    "import": ["./nosuch", "out"],
    "chat --image": ["me/x", "--image=gone.png"],
    "quantise --data.test": ["me/x", "out", "--data.test=gone.json"],
}
CODE = """
import contextlib, io, json, sys
for heavy in ("torch", "transformers", "datasets", "lightning", "diffusers"):
    sys.modules[heavy] = None  # an import raises an error
from inlay.recipes.cli import main
found = {}
for name, arguments in json.loads(sys.argv[1]).items():
    told = io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            status = main([name.split()[0], *arguments])
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            status = repr(error)
    found[name] = [status, told.getvalue()]
print(json.dumps(found))
"""


def _run(arguments: dict[str, list[str]], folder: Path) -> dict[str, list[object]]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", CODE, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    return _run({name: ["llava", "--nosuch"] for name in COMMANDS}, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    return _run(MISSING, tmp_path_factory.mktemp("here"))


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_reported_without_torch(unknown: dict[str, list[object]], command: str) -> None:
    status, told = unknown[command]
    assert status == 2, status
    assert "--nosuch" in str(told)


@pytest.mark.parametrize("command", MISSING)
def test_a_missing_folder_is_reported_without_torch(missing: dict[str, list[object]], command: str) -> None:
    status, told = missing[command]
    assert status == 2, (status, told)
    assert "nosuch" in str(told) or "gone" in str(told)


def test_the_default_of_prefix_mib_is_that_of_the_cache() -> None:
    from inlay.adapters.chat.kv_cache import MAX_BYTES
    from inlay.recipes.commands.arguments.bundle_argument import PREFIX_MIB

    assert PREFIX_MIB << 20 == MAX_BYTES
