"""Results of further checks of the rows of a table, kept beside the facts about it for later processes."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.rows.tables.store import cache_root

__all__ = ["SideNotes"]


class SideNotes:
    """A result as plain values, for one set of rules.

    Args:
        samples: all valid rows of a table.
        rules: plain values that the result depends on, beside the rows.
    """

    def __init__(self, samples: Samples, rules: Any) -> None:
        name = hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
        self.path = None if samples.key is None else cache_root() / samples.key / f"check-{name[:32]}.json"

    def load(self) -> Any:
        """The result of an earlier process; None without one."""
        if self.path is None:
            return None
        try:
            return json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or a damaged one
            return None

    def save(self, found: Any) -> None:
        """Keep a result; does nothing if the folder cannot be written."""
        if self.path is None:
            return
        other = self.path.with_suffix(f".{os.getpid()}")
        try:
            other.write_text(json.dumps(found), encoding="utf-8")
            other.replace(self.path)
        except OSError:
            other.unlink(missing_ok=True)
