"""A folder of safetensors shards that several processes fill and read at once.

::

    FOLDER/inlay-cache-2/<64 hex digits>/<64 hex digits>.safetensors

The folder of a *space* is named by the digest of every fact that its values depend on, so another layer, geometry,
weight or library version is another space. A shard is named by the digest of its bytes; its tensors by the digests of
the inputs. There are no locks and no index: shards appear complete by a rename and never change, their headers list
their tensors, and if two processes compute the same tensor, either copy is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import stat
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from inlay.hub.errors import BundleError
from inlay.hub.format.header import header_end, read_header
from inlay.hub.safety.atomic import TEMPORARY, write_file

__all__ = ["CacheStore", "CacheWarning", "Space"]

FORMAT = "inlay-cache-2"
"""The folder of this version's shards; other files beside it are left alone."""
_SHARD = re.compile(r"[0-9a-f]{64}/[0-9a-f]{64}\.safetensors")
_ABANDONED = 3600.0
"""Seconds after which a temporary file is assumed to belong to a dead process: writing one takes a few seconds."""


class CacheWarning(UserWarning):
    """A part of a cache folder cannot be used or written; the run continues without it."""


class CacheStore:
    """All spaces in one folder, within a budget of bytes.

    Args:
        folder: created when something is written; it may hold other files.
        budget: bytes of all shards together; the least recently used ones are removed to keep it.
    """

    def __init__(self, folder: str | Path, *, budget: int = 64 << 30) -> None:
        self.root, self.budget = Path(folder).expanduser() / FORMAT, budget

    def space(self, facts: Mapping[str, Any]) -> Space:
        """The space of the values that depend on these facts (plain values)."""
        return Space(self, json.dumps(facts, sort_keys=True))

    def shards(self, space: str = "*") -> dict[Path, os.stat_result]:
        """The shards of one space or of all: regular files with a shard's name, the least recently used first."""
        found = {}
        for path in self.root.glob(f"{space}/*.safetensors"):
            with contextlib.suppress(OSError):  # another process may have removed it a moment ago
                status = path.lstat()
                if _SHARD.fullmatch(f"{path.parent.name}/{path.name}") and stat.S_ISREG(status.st_mode):
                    found[path] = status
        return dict(sorted(found.items(), key=lambda item: item[1].st_mtime_ns))

    def make_room(self, size: int) -> None:
        """Remove shards until ``size`` more bytes fit in the budget, and temporary files of dead processes."""
        for path in self.root.glob(f"*/{TEMPORARY}*"):
            with contextlib.suppress(OSError):
                if path.lstat().st_mtime < time.time() - _ABANDONED:
                    path.unlink()
        shards = self.shards()
        held = sum(status.st_size for status in shards.values())
        for path, status in shards.items():
            if held + size > self.budget:
                path.unlink(missing_ok=True)  # a process that has mapped it can still read it
                held -= status.st_size


class Space:
    """Tensors that depend on the same facts, each by the digest of its input.

    Args:
        store: the folder.
        facts: JSON; its digest names the space, and every shard carries it in its metadata.
    """

    def __init__(self, store: CacheStore, facts: str) -> None:
        self.store, self.facts = store, facts
        self.digest = hashlib.sha256(facts.encode()).hexdigest()
        self.folder = store.root / self.digest
        self._holder: dict[str, Path] = {}
        """Key -> the shard that holds its tensor, by the shard's header."""
        self._known: set[Path] = set()
        """Shards whose header has been read."""
        self._mapped: dict[Path, dict[str, Tensor]] = {}

    def find(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The tensors that the space has, mapped from disk.

        A shard that is damaged, or holds one of these tensors in another shape, is named in a :class:`CacheWarning`
        and removed.

        Args:
            shapes: key -> expected shape.
        """
        for path, status in self.store.shards(self.digest).items():
            if path not in self._known:
                self._known.add(path)
                with self._refusing(path), path.open("rb") as file:
                    start = file.read(8)
                    start += file.read(header_end(start, status.st_size, str(path)) - 8)
                    self._holder |= dict.fromkeys(read_header(start, status.st_size, str(path)), path)
        wanted: dict[Path, list[str]] = defaultdict(list)
        for key in shapes.keys() & self._holder.keys():
            wanted[self._holder[key]].append(key)
        found: dict[str, Tensor] = {}
        for path, keys in wanted.items():
            with self._refusing(path):
                held = self._open(path)
                for key in keys:
                    if held[key].shape != shapes[key] or not held[key].is_floating_point():
                        got = f"{held[key].dtype} of shape {list(held[key].shape)}"
                        raise BundleError(str(path), f"expected floats of shape {list(shapes[key])}, got {got}")
                found |= {key: held[key] for key in keys}
        return found

    def write(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Write one shard.

        Args:
            tensors: on the CPU, by key.

        Returns:
            The same tensors, mapped from disk.

        Raises:
            OSError: no space on the disk, no permission.
            BundleError: tensors that a shard cannot hold: too many, empty, or of an unusual data type.
        """
        own = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}
        data = save(own, {"format": "pt", "facts": self.facts})
        path = self.folder / f"{self._name(io.BytesIO(data))}.safetensors"
        read_header(data, len(data), str(path))
        self.store.make_room(len(data))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(path, data)
        self._known.add(path)
        self._holder |= dict.fromkeys(own, path)
        return self._map(path)

    def _open(self, path: Path) -> dict[str, Tensor]:
        """All tensors of a shard; the first time, the digest of its bytes is compared with its name."""
        if path not in self._mapped:
            with path.open("rb") as file:
                if self._name(file) != path.stem:
                    raise BundleError(str(path), "damaged: expected bytes whose digest is the file's name")
            self._map(path)
        return self._mapped[path]

    def _map(self, path: Path) -> dict[str, Tensor]:
        with safe_open(path, framework="pt") as shard:
            self._mapped[path] = {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118 - no mapping
        with contextlib.suppress(OSError):  # a read-only folder
            os.utime(path)
        return self._mapped[path]

    def _name(self, file: Any) -> str:
        """Digest of a shard's bytes and its space; a shard that was moved to another space is rejected."""
        return hashlib.file_digest(file, lambda: hashlib.sha256(self.digest.encode())).hexdigest()

    @contextlib.contextmanager
    def _refusing(self, path: Path) -> Iterator[None]:
        """Skip a shard that another process has removed; warn of an invalid one, and remove it."""
        try:
            yield
            return
        except FileNotFoundError:
            self._known.discard(path)
        except (BundleError, SafetensorError, OSError) as error:
            warnings.warn(
                f"{error}. The shard is removed, and its tensors are computed again", CacheWarning, stacklevel=4
            )
            with contextlib.suppress(OSError):
                path.unlink()
        self._mapped.pop(path, None)
        self._holder = {key: shard for key, shard in self._holder.items() if shard != path}
