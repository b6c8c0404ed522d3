"""The answers of an evaluation as files, so that a killed evaluation continues where it stopped.

``settings.json`` has the settings on which the answers depend. ``COLUMN.jsonl`` has one answer per line, in the order
of the questions. Only complete blocks of answers are kept on resuming, so that the batches, and with them the answers,
equal those of an evaluation that was not interrupted.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inlay.recipes.evaluation.benchmarks.results_files import write_json
from inlay.recipes.evaluation.errors import BenchmarkError

__all__ = ["BLOCK", "AnswerStore", "StoredAnswer"]

BLOCK = 256
"""Number of answers that are written together."""
_SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One line of a file of answers."""

    name: str
    answer: str
    finish_reason: str
    """``length``: the answer was cut off at the limit of new tokens."""


@dataclass(frozen=True)
class AnswerStore:
    """The folder of one evaluation."""

    folder: Path

    @contextmanager
    def opened(self, facts: Mapping[str, Any]) -> Iterator[None]:
        """A context in which only this process writes into the folder, which is created.

        Args:
            facts: plain values on which the answers depend.

        Raises:
            BenchmarkError: the folder is used by another process, has other files, or answers of other settings.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BenchmarkError(f"{self.folder}: another evaluation writes into this folder") from None
            except OSError:  # Some network file systems have no locks.
                pass
            self._check(json.loads(json.dumps(facts)))
            yield
        finally:
            os.close(handle)

    def _check(self, facts: dict[str, Any]) -> None:
        path = self.folder / _SETTINGS
        if not path.exists():
            if others := sorted(entry.name for entry in self.folder.iterdir()):
                raise BenchmarkError(f"{self.folder}: expected a new or empty folder for --output, it has {others[0]}")
            write_json(path, facts)
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            held = {}
        if changed := [name for name in facts if held.get(name) != facts[name]]:
            raise BenchmarkError(
                f"{self.folder}: its answers were given with other settings ({', '.join(changed)}); choose "
                "another --output"
            )

    def _path(self, column: str) -> Path:
        return self.folder / f"{column.replace(' ', '_')}.jsonl"

    def load(self, column: str, names: Sequence[str]) -> list[StoredAnswer]:
        """The stored answers of complete blocks, or all of them; an incomplete block is removed from the file.

        Args:
            column: the column, such as ``adapter``.
            names: the names of all questions, in their order.

        Raises:
            BenchmarkError: the file has answers to other questions.
        """
        path = self._path(column)
        if not path.exists():
            return []
        found, ends = list[StoredAnswer](), [0]
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                row = StoredAnswer(**json.loads(line))
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            found.append(row)
            ends.append(ends[-1] + len(line))
        if [row.name for row in found] != list(names[: len(found)]):
            raise BenchmarkError(f"{path}: expected the answers to the first {len(found)} questions, in their order")
        kept = len(found) if len(found) == len(names) else len(found) // BLOCK * BLOCK
        if path.stat().st_size != ends[kept]:
            os.truncate(path, ends[kept])
        return found[:kept]

    def append(self, column: str, rows: Sequence[StoredAnswer]) -> None:
        """Add a block of answers, flushed to the disk."""
        with self._path(column).open("a", encoding="utf-8") as file:
            for row in rows:
                line = {"name": row.name, "answer": row.answer, "finish_reason": row.finish_reason}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
