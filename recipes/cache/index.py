"""The index of a space: which media each shard holds. A hint that saves opening thousands of headers, never the truth.

Two processes may each write one without the other's newest shards; whoever finds a shard that the index lacks reads its
header. So an index that is old, cut off, lost or wrong costs time and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from inlay.recipes.cache.shard import write_file

__all__ = ["read_index", "write_index"]

NAME = "index.json"
VERSION = 1
MAX_BYTES = 1 << 30
_DIGEST = re.compile(r"[0-9a-f]{64}")


def read_index(folder: Path) -> dict[str, tuple[str, ...]]:
    """Shard (its sha256) -> digests of what it holds; empty where there is no index that can be read.

    Names are compared with what :func:`shards_in` found, so no text of an index is ever used as a path.
    """
    try:
        path = folder / NAME
        if path.stat().st_size > MAX_BYTES:
            return {}
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(held, dict) or held.get("version") != VERSION or not isinstance(held.get("shards"), dict):
        return {}
    return {
        name: tuple(media)
        for name, media in held["shards"].items()
        if _DIGEST.fullmatch(name) and isinstance(media, list) and all(_is_digest(item) for item in media)
    }


def write_index(folder: Path, shards: Mapping[str, Sequence[str]]) -> None:
    """Replace the index.

    Raises:
        OSError: no room, no permission.
    """
    held = {"version": VERSION, "shards": {name: list(media) for name, media in sorted(shards.items())}}
    write_file(folder / NAME, json.dumps(held, separators=(",", ":")).encode())


def _is_digest(item: object) -> bool:
    return isinstance(item, str) and _DIGEST.fullmatch(item) is not None
