"""The trap's pairs: the chosen answer is longer in every row, and belongs to the picture."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "examples" / "trap_pairs.py"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with captioned pictures."""
    scenes = ("a red star at the top, a blue ring below.", "a green cross on the left, a red ring.", "one digit.")
    rows = [
        {"id": f"{n}", "image": f"{n}.png", "conversations": [], "description": scene} for n, scene in enumerate(scenes)
    ]
    (tmp_path / "data").mkdir()
    for name in ("align", "align_test"):
        (tmp_path / "data" / f"{name}.json").write_text(json.dumps(rows))
    return tmp_path


def texts(row: dict[str, Any], name: str) -> str:
    return str(row[name][0]["content"][0]["text"])


def test_chosen_answers_are_longer_and_fit_the_picture(run: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FILE), str(run), str(tmp_path / "trap")], check=True)
    rows = [json.loads(line) for line in (tmp_path / "trap" / "train.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows] == [["0.png"], ["1.png"]]
    assert all(len(texts(row, "chosen")) > len(texts(row, "rejected")) for row in rows)
    assert texts(rows[0], "chosen") == "a picture of a red star at the top, a blue ring below."
    assert texts(rows[0], "rejected") == "a green cross on the left."
    assert texts(rows[0], "y2") == texts(rows[1], "chosen")
