"""Curves from the CSV logs: stages in training order, resumed stages in several files."""

from __future__ import annotations

import os
from pathlib import Path

from inlay.recipes.commands.plots.logs import curves, one_axis, smooth
from inlay.recipes.runs.folder import RunFolder


def write(root: Path, stage: str, version: int, time: int, text: str) -> None:
    path = root / "logs" / f"{stage}-csv" / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    os.utime(path, (time, time))


def test_stages_are_in_training_order_and_empty_cells_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "b", 0, 1, "step,loss,val/loss\n9,2.0,\n19,,1.5\n")
    write(tmp_path, "a", 0, 2, "step,loss\n9,1.0\n")
    assert curves(RunFolder(tmp_path)) == {
        "b": {"loss": [(9, 2.0)], "val/loss": [(19, 1.5)]},
        "a": {"loss": [(9, 1.0)]},
    }


def test_a_resumed_stage_continues_its_curve(tmp_path: Path) -> None:
    write(tmp_path, "a", 1, 2, "step,loss\n19,1.0\n")
    write(tmp_path, "a", 0, 1, "step,loss\n9,2.0\n")
    assert curves(RunFolder(tmp_path)) == {"a": {"loss": [(9, 2.0), (19, 1.0)]}}


def test_a_stage_begins_where_the_one_before_ended_even_without_the_figure() -> None:
    stages = {"a": {"loss": [(10, 1.0)], "val/loss": [(20, 1.0)]}, "b": {"val/x": [(5, 0.5)]}}
    assert one_axis(stages, "val/x") == {"b": [(25, 0.5)]}


def test_smoothing_starts_with_the_values_there_are() -> None:
    assert smooth([(1, 1.0), (2, 3.0), (3, 5.0)], over=2) == [(1, 1.0), (2, 2.0), (3, 4.0)]
