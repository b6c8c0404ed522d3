"""The plot of a run: two to four panels with curves and figures, and below them sample answers."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from inlay.adapters.media.image import load_image
from inlay.recipes.commands.plots.logs import Curve, curves, one_axis, smooth
from inlay.recipes.evaluation.metric_registry import METRICS
from inlay.recipes.evaluation.metrics.builtin import METRICS as BUILT_INS
from inlay.recipes.evaluation.metrics.vqa_accuracy import vqa_accuracy
from inlay.recipes.runs.folder import RunFolder
from inlay.recipes.settings.errors import SettingsError

__all__ = ["draw_run", "scores_of"]

SHOWN = 8
COLUMNS = 4
WIDEST = 38
"""Maximum characters of a line above a sample."""
PANEL, SAMPLE = 3.8, 2.3
"""Height in inches of the row of panels, and of a row of samples."""
_GREY = "0.6"
_POLICY = {"reward/mean": "mean reward", "policy/kl": "KL divergence"}
"""Figures of GRPO -> title of their panel."""
_MEDIA = ("right", "blank", "other")
"""The medium of a row while reward accuracy is measured: its own, an empty one, another row's."""


def draw_run(folder: RunFolder, target: Path, *, software: str) -> None:
    """Write the plot.

    Args:
        folder: a finished run.
        target: the PNG file.
        software: stored in the file as its writer.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("plot: needs matplotlib; install it with pip install 'inlay[plots]'") from error

    figures = json.loads(folder.metrics.read_text(encoding="utf-8"))
    panels, samples = _panels(curves(folder), figures), _samples(folder)
    rows = -(-len(samples) // COLUMNS)
    figure = Figure(figsize=(12.5, PANEL + SAMPLE * rows), layout="constrained")
    heights = (PANEL, SAMPLE * rows) if rows else (PANEL,)
    top, *below = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights).flat
    for axes, panel in zip(top.subplots(1, len(panels), squeeze=False).flat, panels, strict=True):
        panel(axes)
    for part in below:
        places = list(part.subplots(rows, COLUMNS, squeeze=False).flat)
        for axes in places:
            axes.set_axis_off()
        for axes, shown in zip(places, samples, strict=False):
            _sample(axes, shown, folder)
    figure.suptitle(f"{folder.root.absolute().name}, seed {figures['seed']}, {figures['seconds']:.0f} s")
    figure.savefig(target, dpi=110, metadata={"Software": software})


def scores_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """Held-out scores in percent: before alignment tuning, of the adapter, blind, and of the oracle.

    Example:
        >>> scores_of({"metric": "vqa", "accuracy": 0.5, "blind": 0.25, "before": {"accuracy": 0.4}})
        {'before': 40.0, 'adapter': 50.0, 'blind': 25.0}
    """
    name = str(figures.get("metric"))
    metric = METRICS.get(name) or BUILT_INS.get(name)
    main = "accuracy" if metric is None or metric.main in ("overall", "accuracy") else metric.main
    found = {"before": figures.get("before", {}).get(main), "adapter": figures.get(main)}
    found |= {name: figures.get(name) for name in ("blind", "oracle")}
    return {name: 100 * value for name, value in found.items() if value is not None}


def _panels(stages: dict[str, dict[str, Curve]], figures: Mapping[str, Any]) -> list[Callable[[Any], None]]:
    """The panels for which the run has figures; the loss is always one."""
    panels: list[Callable[[Any], None]] = [partial(_losses, stages=stages)]
    for name, title in _POLICY.items():
        if drawn := one_axis(stages, name):
            panels.append(partial(_curves, drawn=drawn, title=title))
    if isinstance(rewards := figures.get("reward_accuracy"), dict):
        panels.append(partial(_bars, values=_percent(rewards, _MEDIA), title="reward accuracy by medium"))
    panels += [partial(_validation, stages=stages, name=name) for name in _validated(stages)]
    if scores := scores_of(figures):
        panels.append(partial(_bars, values=scores, title=f"held-out {figures.get('metric', 'questions')}"))
    return panels


def _percent(values: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    return {name: 100 * values[name] for name in names if name in values}


def _losses(axes: Any, stages: dict[str, dict[str, Curve]]) -> None:
    held = one_axis(stages, "val/loss")
    values: list[float] = []
    for number, (stage, curve) in enumerate(one_axis(stages, "loss").items()):
        colour = f"C{number}"
        axes.plot(*_xy(curve), color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(*_xy(smooth(curve)), color=colour, label=stage)
        values += [value for _, value in curve]
        if stage in held:
            axes.plot(*_xy(held[stage]), "o--", color=colour, markersize=4, label=f"{stage}, held out")
    # The loss of GRPO may be negative; within a factor of ten a logarithmic axis has hardly any ticks.
    scale = "log" if values and min(values) > 0 and max(values) > 10 * min(values) else "linear"
    axes.set(xlabel="step", ylabel="loss", title="loss", yscale=scale)
    if values:
        axes.legend(fontsize=8)


def _validated(stages: dict[str, dict[str, Curve]]) -> list[str]:
    """Names of the scores of answers in validations that have a blind row beside them."""
    names = dict.fromkeys(name for figures in stages.values() for name in figures if f"{name}_blind" in figures)
    return list(names)


def _validation(axes: Any, stages: dict[str, dict[str, Curve]], name: str) -> None:
    for (stage, curve), blind in zip(
        one_axis(stages, name).items(), one_axis(stages, f"{name}_blind").values(), strict=True
    ):
        axes.plot(*_xy(curve), "o-", color="C0", markersize=4, label=stage)
        axes.plot(*_xy(blind), "o--", color=_GREY, markersize=4, label=f"{stage}, blind")
    axes.set(xlabel="step", ylabel="score", title=f"validation: {name.removeprefix('val/')}")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _curves(axes: Any, drawn: Mapping[str, Curve], title: str) -> None:
    for number, (stage, curve) in enumerate(drawn.items()):
        axes.plot(*_xy(curve), color=f"C{number}", alpha=0.25, linewidth=0.8)
        axes.plot(*_xy(smooth(curve)), color=f"C{number}", label=stage)
    axes.set(xlabel="step", title=title)
    axes.legend(fontsize=8)


def _bars(axes: Any, values: Mapping[str, float], title: str) -> None:
    """One bar a figure, in percent, with its value above it."""
    colours = ["C0" if name in ("adapter", "right") else _GREY for name in values]
    axes.bar_label(axes.bar(list(values), list(values.values()), color=colours), fmt="%.1f")
    axes.set(ylabel="percent", title=title)
    axes.margins(y=0.12)


def _xy(curve: Curve) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [value for _, value in curve]


def _samples(folder: RunFolder) -> list[dict[str, Any]]:
    """Answers to questions about pictures, of alternating types."""
    if not folder.answers.exists():
        return []
    rows = [json.loads(line) for line in folder.answers.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["image"] and _file(row, folder).is_file()]
    kinds = sorted({row["type"] for row in rows})
    by_kind = [[row for row in rows if row["type"] == kind] for kind in kinds]
    turns = [row for turn in zip(*by_kind, strict=False) for row in turn]
    return turns[:SHOWN]


def _file(row: Mapping[str, Any], folder: RunFolder) -> Path:
    """The picture of an answer; media inside data files have a digest instead, which is no file."""
    path = Path(row["image"])
    return path if path.is_absolute() else folder.root / path


def _sample(axes: Any, shown: Mapping[str, Any], folder: RunFolder) -> None:
    right = vqa_accuracy(shown["said"], shown["answers"]) > 0
    axes.imshow(load_image(_file(shown, folder)))
    axes.set_axis_off()
    mark = "" if right else f" (right: {shown['reference']})"
    lines = [textwrap.shorten(shown["question"], 2 * WIDEST), textwrap.shorten(f"{shown['said']}{mark}", 2 * WIDEST)]
    text = "\n".join(textwrap.fill(line, WIDEST) for line in lines)
    # Texts of data may contain dollar signs, which matplotlib would read as formulas.
    axes.set_title(text, fontsize=8, color="black" if right else "firebrick", parse_math=False)
