"""The run folder: where a run writes, and how every other command finds what a run wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inlay.recipes.settings import RunSettings, SettingsError

__all__ = ["RunFolder"]

MAY_CHANGE = frozenset(
    {
        "output",
        "resume",
        "overwrite",
        "accelerator",
        "checkpoint_every",
        "recompute",
        "data.workers",
        "data.cache_mib",
        "data.cache_disk_mib",
        "data.cache_when",
    }
)
"""Settings that an interrupted run may go on with otherwise: no number depends on them."""


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
    def made(self) -> Path:
        """``made.jsonl``: every held-out instruction with what the adapter chose to make."""
        return self.root / "made.jsonl"

    @property
    def invalid(self) -> Path:
        """``invalid.jsonl``: rows of the data that cannot be used, with the reasons."""
        return self.root / "invalid.jsonl"

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
    def check(cls, settings: RunSettings) -> RunFolder:
        """Check that a run may write into the folder; nothing is created or removed.

        Raises:
            SettingsError: it holds files already, and neither ``resume`` nor ``overwrite`` is set; there is nothing to
                resume; or ``overwrite`` would remove a folder that is not a run folder.
        """
        folder = cls(settings.output)
        taken = folder.root.exists() and (
            # The list of a run that did not begin does not block the next one.
            not folder.root.is_dir() or any(path.name != folder.invalid.name for path in folder.root.iterdir())
        )
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
        elif taken:
            hint = "--resume true goes on with an interrupted run, --overwrite true replaces it"
            raise SettingsError(f"{folder.root}: the output folder exists already; choose another --output, or: {hint}")
        return folder

    @classmethod
    def prepare(cls, settings: RunSettings) -> RunFolder:
        """Create the folder, after removing the run that ``overwrite`` replaces.

        Called once the inputs of the run have been loaded, so that a run that cannot begin leaves no folder and removes
        no earlier run.

        Raises:
            SettingsError: as of :meth:`check`.
        """
        folder = cls.check(settings)
        if settings.overwrite and not settings.resume and folder.root.exists():
            shutil.rmtree(folder.root)
        folder.root.mkdir(parents=True, exist_ok=True)
        return folder

    def check_same(self, settings: Mapping[str, Any]) -> None:
        """See whether a run that goes on has the settings that it began with; those that change no number may differ.

        Args:
            settings: of now, as ``config.yaml`` would hold them.

        Raises:
            SettingsError: names every field that differs.
        """
        began = dict(_flat(yaml.safe_load(self.config.read_text(encoding="utf-8"))))
        now = dict(_flat(settings))
        changed = [
            f"{name} was {began.get(name)!r} and is {now.get(name)!r}"
            for name in sorted(began | now)
            if name not in MAY_CHANGE and began.get(name) != now.get(name)
        ]
        if changed:
            raise SettingsError(
                f"{self.root}: a run goes on with the settings that it began with, and {'; '.join(changed)}; leave "
                f"that as it was (inlay train {self.config} --resume true), or begin anew with --overwrite true"
            )

    def discard_unused(self) -> None:
        """Remove settings and the miniature's data if the folder holds no more, so that it does not block the next try.

        The list of rows that cannot be used stays, as the user needs it. Only for a folder that this run has created:
        none of these can then be anybody's work.
        """
        if not self.root.is_dir():
            return
        names = {path.name for path in self.root.iterdir()}
        if names <= {self.config.name, self.data.name, self.invalid.name}:
            self.config.unlink(missing_ok=True)
            shutil.rmtree(self.data, ignore_errors=True)
            if self.invalid.name not in names:
                self.root.rmdir()

    def write_answers(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``answers.jsonl``."""
        self.answers.write_text(_lines(rows), encoding="utf-8")

    def write_made(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``made.jsonl``."""
        self.made.write_text(_lines(rows), encoding="utf-8")

    def write_metrics(self, figures: dict[str, Any]) -> None:
        """Write ``metrics.json``; it appears whole, and last of all files of a run."""
        text = json.dumps(figures, indent=2, sort_keys=True) + "\n"
        part = self.metrics.with_suffix(".json.part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.metrics)


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names, the way that the command line spells them."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
