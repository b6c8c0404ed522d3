"""The folder: spaces of tensors by the digest of what they were computed of, within a budget of bytes.

Everything that is computed once and for all of a frozen model lies in a *space*; its name is the digest of every fact
that the numbers depend on. So another layer, geometry, weight or library is another space, and nothing old is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from inlay.recipes.cache.index import read_index, write_index
from inlay.recipes.cache.shard import ShardError, check_shapes, names_in, read_shard, shards_in, write_file, write_shard

__all__ = ["CacheStore", "CacheWarning", "Space", "digest_of"]

FORMAT = "inlay-cache-1"
"""The folder of this version's files; what else lies beside it is not ours."""
NAME_BYTES = 160
"""About what a tensor's name and place take in the header of its shard."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class CacheWarning(UserWarning):
    """Something in a cache folder could not be used or written; the run goes on without it."""


def digest_of(facts: Mapping[str, Any]) -> str:
    """64 hex digits over plain values.

    Example:
        >>> digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


class CacheStore:
    """A folder that several processes may fill and read at once.

    Args:
        folder: made when something is written; it may hold other things.
        budget: bytes that all shards together may take; those that were not used for longest make room.
        always: cache also where that loses by the estimate.
    """

    def __init__(self, folder: str | Path, *, budget: int = 64 << 30, always: bool = False) -> None:
        self.root = Path(folder).expanduser() / FORMAT
        self.budget, self.always = budget, always
        self.pinned: set[Path] = set()
        """Shards that this process uses, which it does not drop."""
        self.media: dict[tuple[str, Path], str] = {}
        """Digests of the files that this process has read."""
        self.spaces: dict[str, Space] = {}

    def space(self, digest: str, facts: Mapping[str, Any] | None = None) -> Space:
        """The space of a digest.

        Args:
            digest: of :func:`digest_of`.
            facts: what it was made of, written down for people.
        """
        found = self.spaces.setdefault(digest, Space(self, digest))
        found.facts = found.facts or facts
        return found

    def shards(self) -> list[tuple[Path, os.stat_result]]:
        """Every shard of every space."""
        found = []
        try:
            folders = [entry for entry in os.scandir(self.root) if _DIGEST.fullmatch(entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        for folder in folders:
            if folder.is_dir(follow_symlinks=False):
                for entry in shards_in(Path(folder.path)):
                    with contextlib.suppress(OSError):
                        found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
        return found

    def free(self) -> int:
        """Bytes that the disk has left."""
        place = self.root
        while not place.exists() and place != place.parent:
            place = place.parent
        return shutil.disk_usage(place).free

    def room(self) -> int:
        """Bytes that could be written, once all shards are dropped that this process does not use."""
        shards = self.shards()
        held = sum(stat.st_size for _, stat in shards)
        ours = sum(stat.st_size for path, stat in shards if path in self.pinned)
        return max(0, min(self.budget, held + self.free()) - ours)

    def make_room(self, size: int) -> None:
        """Drop what was not used for longest until so many bytes fit in the budget and on the disk.

        Raises:
            OSError: they do not fit.
        """
        shards = self.shards()
        held = sum(stat.st_size for _, stat in shards)
        allowed = min(self.budget, held + self.free())
        for path, stat in sorted(shards, key=lambda item: item[1].st_mtime_ns):
            if held + size <= allowed:
                break
            if path not in self.pinned:
                # Another process that uses it has it mapped, and keeps what it has.
                path.unlink(missing_ok=True)
                held -= stat.st_size
        if held + size > allowed:
            raise OSError(f"{size:,} bytes do not fit: {held:,} of {allowed:,} are in use by this run")


class Space:
    """Tensors of one meaning, by digest.

    Args:
        store: the folder.
        digest: of all facts.
    """

    def __init__(self, store: CacheStore, digest: str) -> None:
        self.store, self.digest, self.folder = store, digest, store.root / digest
        self.facts: Mapping[str, Any] | None = None
        self._known: dict[str, tuple[str, ...]] = {}
        self._indexed: dict[str, tuple[str, ...]] | None = None
        self._refused: set[str] = set()

    def find(self, keys: Iterable[str], shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Tensor]:
        """The tensors that are there, mapped from disk, out of shards whose bytes and shapes are right.

        A shard that is damaged, or holds one of these tensors in another shape, is named in a :class:`CacheWarning`
        and removed, so that its tensors are computed again.

        Args:
            keys: names of tensors.
            shapes: key -> the shape that its tensor must have; keys that are left out are not checked.
        """
        wanted, found = set(keys), dict[str, Tensor]()
        if not wanted:
            return found
        self._look()
        for name, media in list(self._known.items()):
            if not wanted.isdisjoint(media):
                held = self._open(self.folder / f"{name}.safetensors", {key: (shapes or {}).get(key) for key in wanted})
                taken = wanted & held.keys()
                found |= {key: held[key] for key in taken}
                wanted -= taken
        return found

    def write(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Write one shard, and give its tensors back as they lie on disk.

        Raises:
            OSError: no room on the disk or in the budget, no permission.
        """
        self.store.make_room(sum(tensor.nbytes + NAME_BYTES for tensor in tensors.values()))
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.facts is not None and not (self.folder / "facts.json").exists():
            write_file(self.folder / "facts.json", json.dumps(self.facts, indent=2, sort_keys=True).encode() + b"\n")
        path = write_shard(self.folder, self.digest, tensors)
        self._refused.discard(path.stem)
        held = self._open(path)
        if lost := tensors.keys() - held.keys():
            raise OSError(f"{path}: {len(lost)} tensors could not be read back")
        return held

    def flush(self) -> None:
        """Write the index, with what others have added in the meantime.

        Raises:
            OSError: no room, no permission.
        """
        self._look()
        if self._known and self._known != self._indexed:
            write_index(self.folder, self._known)
            self._indexed = dict(self._known)

    def _look(self) -> None:
        """See which shards have come and gone."""
        there = {entry.name.removesuffix(".safetensors") for entry in shards_in(self.folder)} - self._refused
        for name in self._known.keys() - there:
            del self._known[name]
        fresh = there - self._known.keys()
        if fresh and self._indexed is None:
            self._indexed = read_index(self.folder)
        for name in sorted(fresh):
            path = self.folder / f"{name}.safetensors"
            try:
                indexed = (self._indexed or {}).get(name)
                self._known[name] = tuple(names_in(path)) if indexed is None else indexed
            except ShardError as error:
                self._refuse(path, error)
            except OSError:
                self._refused.add(name)

    def _open(self, path: Path, shapes: Mapping[str, tuple[int, ...] | None] | None = None) -> dict[str, Tensor]:
        try:
            held = read_shard(path, self.digest)
            check_shapes(path, held, shapes or {})
        except ShardError as error:
            self._refuse(path, error)
            return {}
        except OSError:
            self._known.pop(path.stem, None)  # another process dropped it
            return {}
        self._known[path.stem] = tuple(held)
        self.store.pinned.add(path)
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(path)
        return held

    def _refuse(self, path: Path, error: ShardError) -> None:
        self._refused.add(path.stem)
        self._forget(path)
        warnings.warn(f"{error}. What it held is computed again", CacheWarning, stacklevel=2)

    def _forget(self, path: Path) -> None:
        self._known.pop(path.stem, None)
        self.store.pinned.discard(path)
        with contextlib.suppress(OSError):
            path.unlink()
