"""The loader of a registered generator, found by the name in its ``model_index.json`` or ``config.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from inlay.adapters.generators.registry import GENERATORS, GeneratorLoader

__all__ = ["registered_loader"]

_NAMES = {"model_index.json": "_class_name", "config.json": "model_type"}
"""File -> the field that names the pipeline or the model."""


def registered_loader(
    source: str | Path, *, revision: str | None = None, local_files_only: bool = False
) -> GeneratorLoader | None:
    """The loader that is registered for a Hub id or a folder, or None.

    If no generator is registered, nothing is read.

    Raises:
        OSError: the Hub cannot be reached, or the repository does not exist.
    """
    for file, field in _NAMES.items() if GENERATORS else ():
        found: Any = cached_file(
            str(source),
            file,
            revision=revision,
            local_files_only=local_files_only,
            _raise_exceptions_for_missing_entries=False,
        )
        if found is not None and (load := GENERATORS.get(_named(Path(found), field))) is not None:
            return load
    return None


def _named(file: Path, field: str) -> str:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return ""
    return str(held.get(field)) if isinstance(held, dict) else ""
