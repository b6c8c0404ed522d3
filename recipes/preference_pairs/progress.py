"""Finished batches of an unfinished file, one JSON line each, so that a stopped command continues where it was.

The first line has the settings; an incomplete last line is removed. The final file is written at once, and this one is
then deleted.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inlay.recipes.settings.errors import SettingsError

__all__ = ["Progress"]


class Progress:
    """A context with the finished items of ``FILE.part``.

    Args:
        output: the final file.
        settings: JSON values on which the items depend.
        free: settings that a later start takes over from the first one, such as the batch size.
        overwrite: discard finished items of other settings.

    Raises:
        SettingsError: another process writes the file, or there are finished items with other settings.
    """

    def __init__(
        self, output: Path, settings: Mapping[str, Any], free: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = output.with_name(f"{output.name}.part")
        self.file = self.path.open("a+b")
        self.items: dict[int, Any] = {}
        """Number -> finished item."""
        try:
            self._lock()
            lines = self._lines()
            head = {"settings": json.loads(json.dumps(settings)), "free": json.loads(json.dumps(free))}
            if lines and lines[0].get("settings") != head["settings"]:
                if len(lines) > 1 and not overwrite:
                    raise SettingsError(f"{self.path}: {_difference(lines[0].get('settings'), head['settings'])}")
                lines = []
                self.file.truncate(0)
            if not lines:
                self._append(head)
            self.free: dict[str, Any] = lines[0]["free"] if lines else head["free"]
            for line in lines[1:]:
                self.items.update((int(number), item) for number, item in line["items"])
        except BaseException:
            self.file.close()
            raise

    def add(self, items: Sequence[tuple[int, Any]]) -> None:
        """Store the items of a batch; they are on disk when this returns."""
        self._append({"items": items})
        self.items.update(json.loads(json.dumps(items)))

    def finish(self) -> None:
        """Delete the file, once the output is written."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.file.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def _lines(self) -> list[dict[str, Any]]:
        self.file.seek(0)
        whole, newline, _ = self.file.read().rpartition(b"\n")
        self.file.truncate(len(whole) + len(newline))
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            lines = [{}]
        if any(not isinstance(line, dict) for line in lines) or (lines and "settings" not in lines[0]):
            raise SettingsError(f"{self.path}: expected an unfinished file of this command; choose another --output")
        return lines

    def _lock(self) -> None:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{self.path}: another process writes this file; choose another --output") from None
        except OSError:  # some network file systems do not support locks
            pass


def _difference(began: Any, now: Mapping[str, Any]) -> str:
    before = began if isinstance(began, dict) else {}
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return (
        f"unfinished with other settings ({', '.join(changed)}); keep the settings to continue, or start again with "
        "--overwrite true"
    )
