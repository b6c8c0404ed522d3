"""The run folder: its paths, and the checks and files of a run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.hub.errors import InlayError
from inlay.recipes.runs.earlier import BEGUN, EARLIER, give_back, recover, set_aside, settle_earlier
from inlay.recipes.runs.files import (
    DIGESTS,
    HELD_OUT,
    INVALID,
    MARKER,
    check_replaceable,
    entries_of,
    remove_run_files,
    write_whole,
)
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.plain_yaml import parse_yaml
from inlay.recipes.settings.run import RunSettings

__all__ = ["RunFolder"]

MAY_CHANGE = frozenset(
    {
        "output",
        "resume",
        "overwrite",
        "accelerator",
        "checkpoint_every",
        "recompute",
        "eval_batch_size",
        "metric",
        "evaluate",
        "data.workers",
        "data.cache_mib",
        "data.cache_disk_mib",
    }
)
"""Settings that may change when a run is resumed, as the trained weights do not depend on them."""
REPLACED = ".replaced"
"""Suffix of the folder with the checkpoints of a stage that is trained again with other settings."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run.

    Example:
        >>> RunFolder(Path("runs/llava")).bundle.as_posix()
        'runs/llava/bundle'
    """

    root: Path

    @property
    def bundle(self) -> Path:
        """The bundle of the adapter."""
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
        """``answers.jsonl``: every held-out question with the adapter's answer."""
        return self.root / "answers.jsonl"

    @property
    def made(self) -> Path:
        """``made.jsonl``: every held-out instruction with the media that the adapter generates."""
        return self.root / "made.jsonl"

    @property
    def invalid(self) -> Path:
        """``invalid.jsonl``: the invalid rows of the data, with the reasons."""
        return self.root / INVALID

    @property
    def digests(self) -> Path:
        """``digests.json``: digests of the data and of the frozen models."""
        return self.root / DIGESTS

    @property
    def held_out(self) -> Path:
        """``held_out.json``: digests of the training rows that ``--data.test_size`` held out."""
        return self.root / HELD_OUT

    @property
    def data(self) -> Path:
        """The miniature's data, if the run has written them."""
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
            SettingsError: the folder has files already, and neither ``resume`` nor ``overwrite`` is set; there is
                nothing to resume; or ``overwrite`` would replace files that no run has written.
        """
        folder = cls(settings.output)
        taken = os.path.lexists(folder.root) and (
            # A folder with only the list of invalid rows, of a run that did not begin, may be used again.
            not folder.root.is_dir() or any(path.name != folder.invalid.name for path in folder.root.iterdir())
        )
        if settings.resume:
            if not folder.config.exists():
                raise SettingsError(f"{folder.root}: nothing to resume: there is no config.yaml of an earlier run")
            if folder.metrics.exists():
                raise SettingsError(
                    f"{folder.root}: this run is finished; `inlay evaluate {folder.root}` evaluates it. To retrain, "
                    "choose another --output, or give --overwrite true"
                )
        elif taken and settings.overwrite:
            if not (folder.root / EARLIER).is_dir():
                check_replaceable(folder.root)
        elif taken:
            hint = "--resume true continues an interrupted run, --overwrite true replaces it"
            raise SettingsError(f"{folder.root}: the output folder exists already; choose another --output, or: {hint}")
        return folder

    @contextmanager
    def writing(
        self, settings: RunSettings, config: str, show: Callable[[str], None], again: Sequence[str] = ()
    ) -> Iterator[Callable[[], RunFolder]]:
        """A context for a run that writes into this folder; if the run fails, an earlier run is restored.

        Args:
            settings: the settings of the run.
            config: the text of ``config.yaml``.
            show: prints the folder of an earlier run if this one fails.
            again: stages of a resumed run that are trained again; their checkpoints are set aside.

        Yields:
            A function that creates the folder and sets an earlier run aside. It is called after the inputs of the run
            were loaded, so that a run that cannot begin creates no folder and does not change an earlier run.
        """
        lock: list[int] = []
        written: list[Path] = []

        def begin() -> RunFolder:
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / MARKER
            if marker.is_file():
                lock.append(self._lock(marker))
            if not settings.resume:
                recover(self.root, show)
                self.check(settings)
                written.append(self.root)
                if settings.overwrite and entries_of(self.root):
                    set_aside(self.root)
                write_whole(marker, "inlay run 1\n")
                lock.append(self._lock(marker))
            for stage in again:
                self._set_stage_aside(stage)
            write_whole(self.config, config)
            return self

        try:
            yield begin
        except BaseException as error:
            if written:
                if (self.root / EARLIER).is_dir():
                    give_back(self.root, show)
                elif isinstance(error, InlayError):  # after other errors, such as a full disk, --resume continues
                    self._discard_unused()
            raise
        else:
            if written or settings.resume:
                settle_earlier(self.root)
        finally:
            for handle in lock:
                os.close(handle)

    def _lock(self, marker: Path) -> int:
        """Lock the folder for this process; the kernel releases the lock when the process ends.

        Raises:
            SettingsError: another process writes into this folder.
        """
        handle = os.open(marker, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise SettingsError(
                f"{self.root}: another run is writing into this folder; wait until it has ended, or choose another "
                "--output"
            ) from None
        except OSError:  # some network file systems do not support locks
            pass
        return handle

    def _set_stage_aside(self, stage: str) -> None:
        """Move the checkpoints of a stage into a neighbouring folder."""
        held = self.checkpoint(stage).parent
        for path in sorted(held.iterdir()) if held.is_dir() else ():
            aside = held.with_name(held.name + REPLACED)
            aside.mkdir(exist_ok=True)
            path.replace(aside / path.name)

    def check_same(self, settings: Mapping[str, Any]) -> tuple[list[str], str]:
        """Check that a resumed run has its original settings, except :data:`MAY_CHANGE`.

        Settings of a stage may differ too, except those of the first stage: the stages before it are kept.

        Args:
            settings: the present settings, in the form of ``config.yaml``.

        Returns:
            The stages that must be trained again, and the reason in one line; none if nothing differs.

        Raises:
            SettingsError: other settings differ; the text names every field.
        """
        try:
            began = dict(_flat(parse_yaml(self.config.read_text(encoding="utf-8"))))
        except (OSError, ValueError, AttributeError) as error:
            raise SettingsError(f"{self.config}: expected the settings of an earlier run: {error}") from error
        began["name"] = began.get("name") or self.root.absolute().name
        now = dict(_flat(settings))
        names = [name for name in sorted(began | now) if name not in MAY_CHANGE and began.get(name) != now.get(name)]
        if not names:
            return [], ""
        changed = "; ".join(f"{name} was {began.get(name)!r} and is {now.get(name)!r}" for name in names)
        order = str(now.get("order", "")).split(",")
        own = [name.split(".")[1] if name.startswith("stages.") else "" for name in names]
        kept = order[: min(order.index(stage) if stage in order else 0 for stage in own)]
        if not kept:
            raise SettingsError(
                f"{self.root}: a resumed run needs its original settings, but {changed}; keep them "
                f"(inlay train {self.config} --resume true), or start a new run with --overwrite true"
            )
        again = order[len(kept) :]
        return again, f"{changed}: training again {', '.join(again)}, keeping {', '.join(kept)}"

    def _discard_unused(self) -> None:
        """Remove the files of a run that has not trained yet, so that they do not block the next run."""
        if set(entries_of(self.root)) <= BEGUN:
            remove_run_files(self.root)

    def write_answers(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``answers.jsonl``."""
        self.answers.write_text(_lines(rows), encoding="utf-8")

    def write_made(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write ``made.jsonl``."""
        self.made.write_text(_lines(rows), encoding="utf-8")

    def write_held_out(self, digests: Sequence[str]) -> None:
        """Write ``held_out.json``."""
        write_whole(self.held_out, json.dumps(list(digests), indent=0) + "\n")

    def write_metrics(self, figures: dict[str, Any]) -> None:
        """Write ``metrics.json`` atomically; it is the last file of a run."""
        write_whole(self.metrics, json.dumps(figures, indent=2, sort_keys=True) + "\n")


def _lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted names, as on the command line."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
