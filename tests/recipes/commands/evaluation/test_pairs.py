"""`inlay pairs`: wrong arguments are reported before torch is imported, and the summary is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cli import main
from inlay.recipes.commands.evaluation import pairs as command
from inlay.recipes.preference_pairs import make
from inlay.recipes.preference_pairs.summary import PairSummary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "train.json").write_text("[]")
    (tmp_path / "old.jsonl").write_text("mine")
    return tmp_path


def arguments(folder: Path, *options: str) -> list[str]:
    given = [option.replace("@", f"{folder}/") for option in options]
    output = [] if any(option.startswith("--output") for option in given) else ["--output", str(folder / "new.jsonl")]
    return ["pairs", str(folder / "bundle"), *output, *given]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--output", "@old.jsonl"], "old.jsonl exists already; choose another file, or give --overwrite true"),
        (["--output", "@none/new.jsonl"], "none: no such folder"),
        (["--data", "@none.json"], "--data: "),
        (["--images", "@none"], "--images: "),
        (["--annotations", "@train.json"], "--annotations needs its questions"),
        (["--reward", "vqqa"], "expected one of choice, exact, length, objects, pope, vqa"),
        (["--reward", "no_module:f"], "no_module cannot be imported"),
        (["--reward", "objects", "--objects", "@none.txt"], "none.txt: no such file"),
        (["--samples", "1"], "samples: expected a whole number from 2 on, got 1"),
        (["--temperature", "0"], "temperature: expected a number above 0"),
        (["--batch_size", "0"], "batch_size"),
        (["--min_words", "9", "--max_words", "3"], "min_words"),
    ],
)
def test_wrong_arguments_are_reported(folder: Path, capsys: Any, options: list[str], told: str) -> None:
    try:
        status = main(arguments(folder, *options))
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert (status, told in capsys.readouterr().err) == (2, True)
    assert (folder / "old.jsonl").read_text() == "mine"
    assert not (folder / "new.jsonl.part").exists()


def test_they_are_reported_without_torch(folder: Path) -> None:
    given = arguments(folder, "--reward", "2*vqa", "--data", "@none.json")
    code = f"import sys; from inlay.recipes.cli import main; s = main({given!r}); sys.exit('torch' in sys.modules or s)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, "none.json: no such file or folder" in found.stderr) == (2, True)


def test_options_reach_the_function_and_the_summary_is_printed(
    folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def pairs(model: Any, data: Any, **given: Any) -> PairSummary:
        seen.update(given, model=model, data=data)
        counts = {"questions": 10, "pairs": 6, "ties": 3, "equal": 1, "unscored": 2, "tied": 0.5, "cut": 0}
        return PairSummary(output=given["output"], score=0.5, chosen=1.0, rejected=0.25, **counts)

    monkeypatch.setattr(make, "pairs", pairs)
    monkeypatch.setattr(command, "check_usable", lambda _: None)  # the folder is empty
    options = [
        "--data",
        "@train.json",
        "--reward",
        "exact,0.5*length",
        "--samples",
        "4",
        "--seed",
        "7",
        "--top_p",
        "0.9",
    ]
    assert main(arguments(folder, *options, "--overwrite", "true")) == 0
    assert "6 pairs of 10 questions; left out: 3 ties (30.0%), 1 with equal answers (10.0%)" in capsys.readouterr().out
    settings = seen["settings"]
    assert (settings.reward, settings.samples, settings.seed, settings.top_p) == ("exact,0.5*length", 4, 7, 0.9)
    assert (seen["data"], seen["overwrite"]) == (folder / "train.json", True)
    assert main(arguments(folder, *options, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 6
