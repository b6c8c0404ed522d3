"""Hostile folders: one kind of error, at once, in little memory, and nothing run, imported or written.

All cases are read by one process of its own, one after the other, which reports what each cost.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile import CANARY, CASES, CODE

from inlay.hub import Bundle
from inlay.hub.format import bundle as module

SECONDS = 2.0
MEGABYTES = 200.0

# The peak is that of the process, so it is reset before each case (Linux); elsewhere it only grows.
READER = """
import json, pathlib, resource, sys, time
from inlay.hub import Bundle, BundleError
Bundle.read(sys.argv[1])
def peak():
    for line in open("/proc/self/status") if sys.platform == "linux" else ():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for case in sys.argv[2:]:
    if sys.platform == "linux":
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    before, modules, start, told = peak(), set(sys.modules), time.process_time(), None
    try:
        Bundle.read(case)
    except BundleError as error:
        told = {"file": error.file, "text": str(error), "ascii": str(error).isprintable()}
    new = [name for name in set(sys.modules) - modules if not name.startswith(("torch", "numpy", "encodings"))]
    print(json.dumps({"told": told, "seconds": time.process_time() - start, "mb": peak() - before, "new": new}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, make_bundle: Any) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("hostile")
    make_bundle().write(root / "honest" / "bundle")
    folders = []
    for number, case in enumerate(CASES.values()):
        shutil.copytree(root / "honest" / "bundle", root / str(number) / "bundle")
        case(root / str(number) / "bundle")
        folders.append(str(root / str(number) / "bundle"))
    before = _listing(root)
    environment = {**os.environ, CANARY: str(root / "canary")}
    command = [sys.executable, "-c", READER, str(root / "honest" / "bundle"), *folders]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folders[0])
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    written = sorted(_listing(root) - before)
    return {"cases": dict(zip(CASES, lines, strict=True)), "written": written, "stderr": run.stderr}


def _listing(root: Path) -> set[str]:
    return {os.path.join(place, name) for place, _, names in os.walk(root) for name in names}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_bundle_is_one_clear_error(outcomes: dict[str, Any], case: str) -> None:
    outcome = outcomes["cases"][case]
    assert outcome["told"] is not None, "it was read"
    assert outcome["told"]["file"]
    assert outcome["told"]["ascii"], "what a terminal would act on is shown as text"
    assert len(outcome["told"]["text"]) < 1000
    assert outcome["seconds"] < SECONDS
    assert outcome["mb"] < MEGABYTES
    assert outcome["new"] == []


def test_nothing_was_written_or_run(outcomes: dict[str, Any]) -> None:
    assert outcomes["written"] == []
    assert outcomes["stderr"] == ""


def test_the_canary_sings_where_code_is_run(tmp_path: Path) -> None:
    """The test above would prove nothing if the hostile code did not work."""
    subprocess.run([sys.executable, "-c", CODE], env={**os.environ, CANARY: str(tmp_path / "canary")}, check=True)
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "{{ 7*7 }}", "{% raw %}", "](javascript:x)"])
def test_text_that_is_only_text_is_read_as_it_is(tmp_path: Path, bundle: Bundle, text: str) -> None:
    changed = Bundle(bundle.manifest.model_copy(update={"name": text}), bundle.tensors, bundle.lora)
    changed.write(tmp_path / "x")
    assert Bundle.read(tmp_path / "x").manifest.name == text


def test_a_source_is_never_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    raw = json.loads((folder / "inlay.json").read_bytes())
    raw["interface"]["image"]["source"] = "http://169.254.169.254/latest"
    (folder / "inlay.json").write_text(json.dumps(raw))
    monkeypatch.setattr(socket, "socket", refuse)
    assert Bundle.read(folder).manifest.interface["image"].source == "http://169.254.169.254/latest"


def test_the_bytes_that_are_checked_are_the_bytes_that_are_parsed(
    folder: Path, make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is exchanged between the check and the parsing changes nothing: it is read once."""
    real = module.parse
    other = folder.parent / "other"
    make_bundle(9.0).write(other)

    def exchange(data: bytes, file: str, **options: Any) -> Any:
        (folder / file).write_bytes((other / file).read_bytes())
        return real(data, file, **options)

    monkeypatch.setattr(module, "parse", exchange)
    assert float(Bundle.read(folder).tensors["inputs.image.linear.weight"][0, 0]) == 0.5
