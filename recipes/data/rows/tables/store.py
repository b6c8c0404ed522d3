"""Keeps the facts about a table for later processes, in a folder beside the cache of Hugging Face ``datasets``.

An entry is a folder that is written under another name and then renamed, so a process that is killed leaves no entry. A
key has the state of the data file, the reader with its options and its source code, and the rules for media. If the
folder cannot be written, the next process checks the rows again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from inlay.adapters.conversation import messages
from inlay.adapters.media import budget
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.tables.base import Index, Table
from inlay.recipes.data.rows.tables.facts import Facts, FileNames

__all__ = ["cache_root", "folder_state", "key_of", "load_facts", "save_facts"]

_DAY = 86400.0


def cache_root() -> Path:
    """``inlay`` in the cache folder of ``datasets``: ``HF_DATASETS_CACHE``, or ``datasets`` in ``HF_HOME``."""
    from huggingface_hub.constants import HF_HOME

    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(HF_HOME) / "datasets").expanduser() / "inlay"


def key_of(table: Table, *readers: object) -> str | None:
    """The name of the entry: the table and its readers, ``-``, their state.

    Args:
        table: the rows.
        readers: functions and rules that the facts depend on.

    Returns:
        None if the facts must not be kept: the table has no state, or a reader has options of an unknown kind.
    """
    state = table.state()
    try:
        named = json.dumps([os.path.abspath(table.name), *map(_plain, readers)])
    except _UnknownError:
        return None
    return None if state is None else f"{_digest(named)[:32]}-{_digest(json.dumps([state, _code()]))[:32]}"


def load_facts(key: str) -> tuple[Index, Facts] | None:
    """The positions of the rows and the facts; None without an entry, or if a folder of media has changed."""
    folder = cache_root() / key
    try:
        held = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        if any(folder_state(place) != state for place, state in held["folders"].items()):
            return None
        index, columns = (
            {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in held[group]}
            for group in ("index", "columns")
        )
        if {len(column) for column in columns.values()} != {held["rows"]}:
            return None
        notes = {note: (count, first) for note, (count, first) in held["notes"].items()}
        offenders = [(where, reason) for where, reason in held["offenders"]]
        media = FileNames(folder / "media.txt")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no entry, or a damaged one
        return None
    return index, Facts(columns, offenders, notes, held["folders"], media)


def save_facts(key: str, index: Index, facts: Facts) -> bool:
    """Write an entry and remove earlier ones of the same table; False if the folder cannot be written."""
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    except OSError:
        return False
    try:
        for name, column in (index | facts.columns).items():
            np.save(place / f"{name}.npy", column)
        (facts.media or FileNames()).copy_to(place / "media.txt")
        held = {
            "rows": len(facts),
            "index": list(index),
            "columns": list(facts.columns),
            "offenders": facts.offenders,
            "notes": facts.notes,
            "folders": dict(facts.folders),
        }
        (place / "facts.json").write_text(json.dumps(held), encoding="utf-8")
        for old in (*root.glob(f"{key.partition('-')[0]}-*"), *filter(_left, root.glob(".new-*"))):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)
        place.rename(root / key)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)
        return False
    return True


def folder_state(folder: str) -> list[int]:
    """Inode and time of the last change of a folder, which change when a file is added, renamed or removed."""
    try:
        status = os.stat(folder)
    except OSError:
        return []
    return [status.st_ino, status.st_mtime_ns]


def _left(folder: Path) -> bool:
    """Whether a folder was left by a process that was killed."""
    return time.time() - folder.stat().st_mtime > _DAY


class _UnknownError(Exception):
    """An option of a reader whose value cannot be compared."""


def _plain(value: Any) -> Any:
    """A value as plain JSON that is the same in every process."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Offenders):
        return "offenders"
    if isinstance(value, partial):
        return [_plain(value.func), _plain(value.args), _plain(value.keywords)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [type(value).__qualname__, _plain(fields)]
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__qualname__, _source(value.__module__), _plain(value.__defaults__), _plain(cells)]
    raise _UnknownError


@cache
def _source(module: str) -> str:
    """The digest of a module's source code."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not os.path.isfile(file):
        raise _UnknownError
    return _digest(Path(file).read_bytes())


@cache
def _code() -> str:
    """The digest of the code that converts rows and checks media."""
    folders = (Path(__file__).parents[2], Path(str(messages.__file__)).parent, Path(str(budget.__file__)).parent)
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return _digest(b"".join(_digest(path.read_bytes()).encode() for path in sorted(files)))


def _digest(data: str | bytes) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
