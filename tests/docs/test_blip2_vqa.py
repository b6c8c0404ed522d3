"""The walk-through, command by command, as a reader would run it: in one folder, from the first to the last."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "blip2-vqa.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PUBLISHES = "inlay push "


def blocks() -> list[tuple[str, str]]:
    """Language and text of every block that is run, in the order of the page."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def run(language: str, text: str, folder: Path, **more: str) -> str:
    """One block in a process of its own; its output."""
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **more}
    command = ["bash", "-e", "-o", "pipefail", "-c", text] if language == "console" else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, env=os.environ | here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_page_goes_all_the_way() -> None:
    console = "".join(text for language, text in blocks() if language == "console")
    order = ["export_vqa", "inlay train blip2", "inlay evaluate", "inlay chat", "inlay inspect", PUBLISHES]
    places = [console.find(word) for word in order]
    assert -1 not in places
    assert places == sorted(places)


def test_every_command_of_the_page_exists() -> None:
    named = set(re.findall(r"^inlay (\w+)", "".join(text for _, text in blocks()), re.MULTILINE))
    assert named <= set(COMMANDS)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_does_what_the_page_says(tmp_path: Path, hub: Any) -> None:
    hub.tokens = {"hf_owner": "OWNER"}
    said: dict[str, str] = {}
    for language, text in blocks():
        if text.startswith(PUBLISHES):
            said[text] = run(language, text, tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN="hf_owner", HF_HUB_OFFLINE="0")
            assert "inlay.json" in hub.repos["OWNER/blip2-vqa"].files
        else:
            said[text] = run(language, text, tmp_path)
    figures = json.loads((tmp_path / "runs" / "blip2" / "metrics.json").read_text())
    assert set(figures["samples_per_second"]) == {"represent", "generate", "vqa"}
    assert figures["accuracy"] > figures["blind"] + 0.2
    found = figures["stages"]["represent"]
    assert found["image_to_text@1"] > 3 / found["captions"]  # Three times what guessing finds.
    assert set(figures["by_type"]) == {"yes/no", "number", "other"}
    results = json.loads((tmp_path / "results.json").read_text())
    questions = json.loads((tmp_path / "vqa" / "questions_val.json").read_text())["questions"]
    assert {row["question_id"] for row in results} == {item["question_id"] for item in questions}
    evaluated = [out for text, out in said.items() if text.startswith("inlay evaluate")]
    assert "VQA accuracy on questions_val.json" in evaluated[0]
    assert "cider" in evaluated[1]
