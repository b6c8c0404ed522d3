"""The run folder: where a run writes, and how every other command finds what a run wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.recipes.settings import RunSettings, SettingsError

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run.

    Example:
        >>> RunFolder(Path("runs/llava")).bundle.as_posix()
        'runs/llava/bundle'
    """

    root: Path

    @property
    def bundle(self) -> Path:
        """The adapter."""
        return self.root / "bundle"

    @property
    def metrics(self) -> Path:
        """``metrics.json``: the figures of the saved bundle."""
        return self.root / "metrics.json"

    @property
    def config(self) -> Path:
        """``config.yaml``: every setting of the run; ``inlay train config.yaml`` repeats it."""
        return self.root / "config.yaml"

    @property
    def answers(self) -> Path:
        """``answers.jsonl``: every held-out question with what the adapter said."""
        return self.root / "answers.jsonl"

    @property
    def data(self) -> Path:
        """The miniature's data, where the run made its own."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """TensorBoard and CSV logs."""
        return self.root / "logs"

    def checkpoint(self, stage: str) -> Path:
        """The last checkpoint of a stage."""
        return self.root / "checkpoints" / stage / "last.ckpt"

    @classmethod
    def prepare(cls, settings: RunSettings) -> RunFolder:
        """Make the folder, or refuse.

        Raises:
            SettingsError: it holds something already, and neither ``resume`` nor ``overwrite`` was asked for; or there
                is nothing to resume; or it is not a run folder and would be lost.
        """
        folder = cls(settings.output)
        taken = folder.root.exists() and (not folder.root.is_dir() or any(folder.root.iterdir()))
        if settings.resume:
            if not folder.config.exists():
                raise SettingsError(f"{folder.root}: nothing to resume: there is no config.yaml of an earlier run")
            if folder.metrics.exists():
                raise SettingsError(
                    f"{folder.root}: this run is finished; choose another --output, or give --overwrite true"
                )
        elif taken and settings.overwrite:
            if not folder.config.exists():
                raise SettingsError(f"{folder.root}: not a run folder (no config.yaml), so it is not replaced")
            shutil.rmtree(folder.root)
        elif taken:
            hint = "--resume true goes on with an interrupted run, --overwrite true replaces it"
            raise SettingsError(f"{folder.root}: the output folder exists already; choose another --output, or: {hint}")
        folder.root.mkdir(parents=True, exist_ok=True)
        return folder

    def discard_unused(self) -> None:
        """Take the folder away where a run left nothing but its settings, so that it does not block the next try."""
        if [path.name for path in self.root.iterdir()] == [self.config.name]:
            shutil.rmtree(self.root)

    def write_answers(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``answers.jsonl``."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self.answers.write_text(text, encoding="utf-8")

    def write_metrics(self, figures: dict[str, Any]) -> None:
        """Write ``metrics.json``; it appears whole, and last of all files of a run."""
        text = json.dumps(figures, indent=2, sort_keys=True) + "\n"
        part = self.metrics.with_suffix(".json.part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.metrics)
