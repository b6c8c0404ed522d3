"""The README: one screen, and code that runs."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

from inlay.recipes import llava
from inlay.recipes.systems.load_backbone import miniature_backbone

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_one_screen_long() -> None:
    assert len(TEXT.splitlines()) <= 120


def test_the_six_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_of: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "runs/llava/data/images"
    images.mkdir(parents=True)
    image_of().save(images / "held_out_scene_00000.png")
    backbone = miniature_backbone()
    llava.recipe().adapter(backbone, "llava").save_pretrained(tmp_path / "runs/llava/bundle")
    [code] = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    statements = [line for line in code.splitlines() if line and not line.startswith(("from", "import"))]
    assert len(statements) <= 6
    (tmp_path / "example.py").write_text(code)
    run_path(str(tmp_path / "example.py"))
    assert capsys.readouterr().out.strip().endswith(("stop", "length"))
