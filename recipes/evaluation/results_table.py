"""A Markdown table of finished runs from their ``metrics.json``, used for the docs.

``python -m inlay.recipes.evaluation.results_table runs/blip2-0 runs/blip2-1`` prints one row per run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main", "results_table"]

COLUMNS = {
    "run": "run",
    "seed": "seed",
    "accuracy": "adapter",
    "blind": "blind",
    "oracle": "oracle",
    "recall": "recall@1, image to text / text to image",
    "cider": "CIDEr-D",
    "right": "captions wholly right",
    "asked_image": "about pictures, adapter / blind",
    "asked_audio": "about sounds, adapter / blind",
    "asked_video": "about clips, adapter / blind",
    "made_image": "pictures made, right / own encoder / wrong prompt",
    "made_audio": "sounds made",
    "made_video": "clips made",
    "choice": "modality chosen",
    "seconds": "seconds",
}
"""Figure -> heading; columns without a value are left out."""


def results_table(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per run.

    Args:
        runs: name -> content of ``metrics.json``.

    Example:
        >>> print(results_table({"llava": {"seed": 0, "accuracy": 0.8984, "blind": 0.313, "seconds": 115.2}}))
        | run | seed | adapter | blind | seconds |
        |---|---|---|---|---|
        | llava | 0 | 89.8 | 31.3 | 115 |
    """
    rows = [_row(name, figures) for name, figures in runs.items()]
    used = [column for column in COLUMNS if any(column in row for row in rows)]
    lines = [[COLUMNS[column] for column in used], ["---"] * len(used)]
    lines += [[row.get(column, "") for column in used] for row in rows]
    return "\n".join("|---" * len(used) + "|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines)


def _row(name: str, figures: Mapping[str, Any]) -> dict[str, str]:
    row = {"run": name, "seed": str(figures["seed"]), "seconds": f"{figures['seconds']:.0f}"}
    kept = ("accuracy", "blind", "oracle", "choice")
    row |= {key: f"{100 * figures[key]:.1f}" for key in kept if key in figures}
    for modality, own in figures.get("by_modality", {}).items():
        row[f"asked_{modality}"] = _shares(own, "adapter", "blind")
    for modality, own in figures.get("made", {}).items():
        row[f"made_{modality}"] = _shares(own, "right", "own_encoder", "wrong_prompt")
    for report in figures.get("stages", {}).values():
        if "image_to_text@1" in report:
            row["recall"] = f"{100 * report['image_to_text@1']:.1f} / {100 * report['text_to_image@1']:.1f}"
        for key, value in report.items():
            row |= {"cider": f"{value:.2f}"} if key.lower().startswith("cider") else {}
            row |= {"right": f"{100 * value:.1f}"} if key == "right" else {}
    return row


def _shares(figures: Mapping[str, float], *names: str) -> str:
    return " / ".join(f"{100 * figures[name]:.1f}" if name in figures else "-" for name in names)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the run folders on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m inlay.recipes.evaluation.results_table", description="A table of finished runs."
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, each with a metrics.json")
    chosen: list[Path] = parser.parse_args(arguments).runs
    held = {}
    for folder in chosen:
        path = folder / "metrics.json"
        if not path.is_file():
            parser.error(f"{folder}: expected the folder of a finished run (with metrics.json)")
        held[folder.name] = json.loads(path.read_text(encoding="utf-8"))
    print(results_table(held))


if __name__ == "__main__":
    main()
