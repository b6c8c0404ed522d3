"""The command line in this process, and a run folder for its commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.recipes.cli import main
from inlay.recipes.miniature.datasets.pictures import build

__all__ = ["run", "untrained_llava"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, output, errors."""
    try:
        status = main(list(arguments))
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def untrained_llava(root: Path) -> Path:
    """A bundle of an untrained adapter on the miniature, and pictures with questions."""
    from inlay.recipes.systems import llava
    from inlay.recipes.systems.load_backbone import miniature_backbone

    backbone = miniature_backbone()
    adapter = llava.recipe("1.5", "miniature").adapter(backbone, "test")
    adapter.attach(backbone)
    adapter.save_pretrained(root / "bundle")
    build(root / "data", 0, scenes=4, test_scenes=7, digits=2, test_digits=2)
    return root
