"""``inlay plot``: its file replaces earlier plots, those of the former name too, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from inlay.recipes.cli import main
from inlay.recipes.runs.folder import RunFolder


def earlier(path: Path, software: str) -> None:
    """A PNG that names its writer."""
    facts = PngInfo()
    facts.add_text("Software", software)
    Image.new("RGB", (4, 4)).save(path, pnginfo=facts)


@pytest.mark.parametrize("software", ["inlay plot", "inlay picture"])
def test_an_earlier_plot_is_replaced(tmp_path: Path, capsys: Any, software: str) -> None:
    RunFolder(tmp_path).write_metrics({"seed": 0, "seconds": 1.0})
    earlier(tmp_path / "plot.png", software)
    assert main(["plot", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'plot.png'}\n"
    with Image.open(tmp_path / "plot.png") as drawn:
        assert drawn.size > (4, 4)


def test_another_picture_is_kept(tmp_path: Path, capsys: Any) -> None:
    RunFolder(tmp_path).write_metrics({"seed": 0, "seconds": 1.0})
    earlier(tmp_path / "plot.png", "GIMP")
    before = (tmp_path / "plot.png").read_bytes()
    assert main(["plot", str(tmp_path)]) == 2
    assert "was not written by `inlay plot`; choose another --output" in capsys.readouterr().err
    assert (tmp_path / "plot.png").read_bytes() == before
