"""Every command reports a wrong option and a missing folder before it imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inlay.recipes.cli import COMMANDS

MISSING = {
    **{name: ["./nosuch"] for name in ("evaluate", "chat", "demo", "serve", "inspect", "verify", "plot")},
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
WRONG = {
    "chat bundle": (["."], "'.': expected a bundle or a run folder, got a folder without inlay.json that holds 'here'"),
    "chat folder": (
        ["here/none"],
        "here/none: no such folder; expected a bundle folder, a run folder, or hf://here/none",
    ),
    "chat repository": (["me/x"], "me/x: the hub cannot be reached"),
    "chat trusted": (["me/x", "--trusted=gone.pem"], "gone.pem: cannot be read"),
    "chat medium": (["me/x", "--image=text.png"], "text.png: expected a JPEG, PNG"),
    "chat nothing": ([""], "expected a bundle folder, a run folder, or owner/name on the Hub, got ''"),
    "chat file": (["text.png"], "text.png: expected a folder, got a file; give the folder of the bundle: ."),
    "chat words": (["me/x", "what", "is", "it"], "is it: more arguments than expected"),
    "chat twice": (["me/x", "what?", "--question=who?"], "--question: the question is given twice: 'what?' and 'who?'"),
    "export target": (["me/x", "--to=onnx", "--output=o"], "--to: expected one of hf"),
    "serve import": (["me/x", "--import=./here"], "--import: ./here: it is a folder; expected a Python file"),
    "serve repository": (["me/x"], "and there is no folder of this name"),
    "serve names": (["me/x", "me/x"], "two models have the name 'me/x'"),
    "serve port": (["me/x", "--port=99999"], "--port: expected a number from 0 to 65535, got 99999"),
    "serve trusted": (["me/x", "--trusted=gone.pem"], "gone.pem: cannot be read"),
    "serve limit": (["me/x", "--limits.waiting=-1"], "--limits.waiting: expected 0 or more, got -1"),
    "serve llm": (["me/x", "--backbone.llm=./gone"], "--backbone.llm: ./gone: no such folder"),
    "serve features": (["me/x", "--backbone.features=12"], "--backbone.features: expected WIDTHxTOKENS"),
    "quantise limit": (["me/x", "out", "--limit=-1"], "--limit: expected a number of at least 0"),
    "gallery number": (["me/x", "--output=o", "--number=0"], "--number: expected at least 1, got 0"),
    "search limit": (["--limit=0"], "--limit: expected at least 1, got 0"),
    "pull target": (["me/x", "here"], "here: already exists; choose another folder, or use --overwrite"),
    "pairs output": (["me/x", "--output=none/o.jsonl"], "--output: none: no such folder"),
    "pairs samples": (["me/x", "--output=o.jsonl", "--samples=1"], "--samples: expected a whole number from 2"),
    "export folder": (["here/none", "--to=hf", "--output=o"], "here/none: no such folder"),
    "space folder": (["here/none"], "here/none: no such folder"),
    "pull folder": (["here/none"], "here/none: no such folder"),
}
"""Command and a word -> wrong arguments, and the error, all of which need no model."""
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
        env={
            **os.environ,
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_CACHE": str(folder / "cache"),
        },
    )
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    return _run({name: ["llava", "--nosuch"] for name in COMMANDS}, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    return _run(MISSING, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    folder = tmp_path_factory.mktemp("here")
    (folder / "here").mkdir()
    (folder / "text.png").write_text("no picture")
    return _run({name: arguments for name, (arguments, _) in WRONG.items()}, folder)


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


@pytest.mark.parametrize("name", WRONG)
def test_a_setting_that_needs_no_model_is_reported_without_torch(wrong: dict[str, list[object]], name: str) -> None:
    status, told = wrong[name]
    assert status == 2, (status, told)
    assert WRONG[name][1] in str(told)


def test_the_default_of_prefix_mib_is_that_of_the_cache() -> None:
    from inlay.adapters.chat.kv_cache import MAX_BYTES
    from inlay.recipes.commands.arguments.bundle_argument import PREFIX_MIB

    assert PREFIX_MIB << 20 == MAX_BYTES
