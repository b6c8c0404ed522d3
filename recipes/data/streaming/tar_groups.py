"""Reads the samples of one webdataset shard, a tar, as a stream.

Adjacent members with the same path up to the first dot of the file name are one sample, such as ``000/7.jpg`` and
``000/7.txt`` (https://github.com/webdataset/webdataset). Nothing is written to disk.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError

__all__ = ["DamagedShard", "Group", "tar_groups"]


class DamagedShard(DataError):
    """A file that is truncated or not a tar; the samples before the damage have been read."""


@dataclass(slots=True)
class Group:
    """The members of one sample."""

    key: str
    """Their common path without extension."""
    where: str
    """Shard and key, for errors."""
    parts: dict[str, bytes] = field(default_factory=dict)
    """Extension in lower case -> content, for the requested extensions."""
    others: list[str] = field(default_factory=list)
    """The extensions of the other members, which were not read."""


def tar_groups(path: Path, extensions: Container[str]) -> Iterator[Group]:
    """The samples of one shard.

    Args:
        path: a tar without compression.
        extensions: which members to read, in lower case.

    Yields:
        Groups in the order of the shard, each when the next one begins. Folders and names without an extension are
        skipped; links, and a second member of the same name, are not read.

    Raises:
        DamagedShard: the file cannot be read, is not a tar, or is truncated; the group that was being read is lost.
    """
    group: Group | None = None
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r|") as archive:
            for member in _members(archive, path):
                folder, slash, last = member.name.removeprefix("./").rpartition("/")
                stem, dot, extension = last.partition(".")
                if member.isdir() or not (stem and dot):
                    continue
                key, extension = f"{folder}{slash}{stem}", extension.lower()
                if group is None or group.key != key:
                    if group is not None:
                        yield group
                    group = Group(key, f"{path}, sample {shown(key)}")
                if not member.isreg():
                    group.others.append(f"{extension} (a link)")
                elif extension not in extensions or extension in group.parts:
                    group.others.append(extension)
                else:
                    content = archive.extractfile(member)
                    group.parts[extension] = content.read() if content else b""
            # tarfile stops at any block that is not a header, but only a block of zeros ends an archive.
            if os.pread(file.fileno(), tarfile.BLOCKSIZE, archive.offset) != bytes(tarfile.BLOCKSIZE):
                raise DamagedShard(f"{path}: truncated or damaged at byte {archive.offset:,}: no header, no end mark")
    except DataError:
        raise
    except Exception as error:  # a damaged header makes tarfile raise errors of many kinds
        raise DamagedShard(f"{path}: expected a tar without compression, readable to its end: {error}") from error
    if group is not None:
        yield group


def _members(archive: Any, path: Path) -> Iterator[tarfile.TarInfo]:
    size = path.stat().st_size
    while (member := archive.next()) is not None:
        archive.members = []  # tarfile would keep every header
        yield member
        if archive.offset > size:  # tarfile would search for the end of this member forever
            raise DamagedShard(f"{path}: truncated: a member ends at byte {archive.offset:,} of {size:,}")
