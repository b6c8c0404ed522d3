"""Names of tables: suffixes of files, and names of data sets of the Hub. Nothing is opened or imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["ARROW", "SUFFIXES", "hub_name", "is_json", "is_table"]

_JSON = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
ARROW = (".parquet", ".csv", ".tsv", ".arrow")
SUFFIXES = (*_JSON, *ARROW)
"""Suffixes of files that hold rows."""

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.\[\]:%+-]+)?")


def is_json(path: Path) -> bool:
    """Whether a path names a JSON file."""
    return path.name.lower().endswith(_JSON)


def is_table(path: Path) -> bool:
    """Whether a path names rows: a file with a known suffix, a folder of a data set, or a data set of the Hub."""
    return path.name.lower().endswith(SUFFIXES) or path.is_dir() or hub_name(path) is not None


def hub_name(path: Path) -> str | None:
    """The name of a data set of the Hub, ``owner/name`` or ``owner/name:split``; None for files and folders.

    Example:
        >>> hub_name(Path("me/my-dataset:train")), hub_name(Path("data/train.json"))
        ('me/my-dataset:train', None)
    """
    name = path.as_posix()
    known = name.lower().endswith((*SUFFIXES, ".tar")) or os.path.exists(name) or "{" in name
    return None if known or not _HUB.fullmatch(name) else name
