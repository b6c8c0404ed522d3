"""``inlay picture``: plot a training run: loss curves, and held-out questions with their answers."""

from __future__ import annotations

import csv
import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from inlay.recipes.commands.arguments.parser import command_parser
from inlay.recipes.runs.files import PICTURE
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.errors import SettingsError

__all__ = ["draw_run", "losses", "main"]

SOFTWARE = "inlay picture"
SHOWN = 8
SMOOTH = 5
WIDEST = 38  # maximum characters of a line


def main(argv: Sequence[str]) -> int:
    """Plot one run."""
    parser = command_parser("picture", __doc__)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--output", type=Path | None, help="PNG file; picture.png in the run folder if not given")
    parsed = parser.parse_args(list(argv))
    target = parsed.output or parsed.run / PICTURE
    _check_target(target)
    draw_run(RunFolder(parsed.run), target)
    print(target)
    return 0


def losses(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """Step and loss of every stage from the CSV logs, in training order."""
    curves: dict[str, list[tuple[int, float]]] = {}
    files = sorted(folder.logs.glob("*-csv/version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file) if row.get("loss")]
        curves.setdefault(path.parent.parent.name.removesuffix("-csv"), []).extend(rows)
    return curves


def draw_run(folder: RunFolder, target: Path) -> None:
    """Write the plot.

    Args:
        folder: a finished run.
        target: the PNG file.

    Raises:
        SettingsError: the run is not finished, or matplotlib is not installed.
    """
    if not folder.metrics.exists():
        raise SettingsError(f"{folder.root}: expected a finished run (with metrics.json); train one with `inlay train`")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("the picture needs matplotlib: pip install 'inlay[plots]'") from error

    figures = json.loads(folder.metrics.read_text(encoding="utf-8"))
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=(1.5, 1, 1))
    _curves(figure.add_subplot(grid[0, :]), losses(folder), figures)
    for index, shown in enumerate(_chosen(folder)):
        _question(figure.add_subplot(grid[1 + index // 4, index % 4]), shown, folder)
    figure.savefig(target, dpi=110, metadata={"Software": SOFTWARE})


def _check_target(target: Path) -> None:
    """Check by its metadata that an existing file is an earlier plot."""
    if not target.exists():
        return
    try:
        with Image.open(target) as image:
            made = image.info.get("Software") == SOFTWARE
    except OSError:
        made = False
    if not made:
        raise SettingsError(f"{target}: exists, and was not written by `inlay picture`; choose another --output")


def _curves(axes: Any, curves: dict[str, list[tuple[int, float]]], figures: dict[str, Any]) -> None:
    start = 0
    for name, rows in curves.items():
        steps = [start + step for step, _ in rows]
        values = [value for _, value in rows]
        means = [
            sum(values[max(0, i - SMOOTH + 1) : i + 1]) / len(values[max(0, i - SMOOTH + 1) : i + 1])
            for i in range(len(values))
        ]
        axes.plot(steps, means, label=name)
        start = steps[-1] if steps else start
    parts = [f"{name} {100 * figures[name]:.1f} %" for name in ("accuracy", "blind", "oracle") if name in figures]
    axes.set(
        xlabel="step", ylabel="loss", yscale="log", title=f"held-out VQA {', '.join(parts)}; {figures['seconds']:.0f} s"
    )
    axes.legend()


def _chosen(folder: RunFolder) -> list[dict[str, Any]]:
    """Questions about pictures, of alternating types."""
    if not folder.answers.exists():
        return []
    rows = [json.loads(line) for line in folder.answers.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["image"] and not row["image"].startswith("sha256:")]
    kinds = sorted({row["type"] for row in rows})
    by_kind = [[row for row in rows if row["type"] == kind] for kind in kinds]
    turns = [row for turn in zip(*by_kind, strict=False) for row in turn]
    return turns[:SHOWN]


def _question(axes: Any, shown: dict[str, Any], folder: RunFolder) -> None:
    from inlay.adapters.media.image import load_image
    from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy

    right = vqa_accuracy(shown["said"], shown["answers"]) > 0
    path = Path(shown["image"])
    axes.imshow(load_image(path if path.is_absolute() else folder.root / path))
    axes.set_axis_off()
    mark = "" if right else f"  (right: {shown['reference']})"
    asked = textwrap.fill(shown["question"], WIDEST)
    axes.set_title(f"{asked}\n{shown['said']}{mark}", fontsize=8, color="black" if right else "firebrick")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
