"""Compact, whole: `inlay train compact` on the miniature learns what results.md says, with nine positions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nine_positions_for_a_picture_answer_nearly_as_well_as_llavas_36(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inlay.recipes.cli", "train", "compact", f"--output={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert figures["accuracy"] >= 0.85
    assert figures["accuracy"] >= figures["blind"] + 0.4
