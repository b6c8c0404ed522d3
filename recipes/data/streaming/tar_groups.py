"""A tar archive read as a stream: members that belong together, one group after the other, nothing ever on disk.

The convention is webdataset's: members with one name up to the first dot of their last part stand next to each other
and are one sample, ``000/7.jpg`` and ``000/7.txt``. The standard library reads the headers; what it passes over in
silence is checked here: a tar that is cut off or damaged between two members, links, sparse files, endless headers.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inlay.adapters.media.image import MediaError, path_inside
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError

__all__ = ["DamagedShard", "Group", "tar_groups"]

_MAX_HEADER = 1 << 20
_LONG_HEADERS = frozenset(
    (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )
)
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class DamagedShard(DataError):
    """A tar that is cut off or no tar; what stood before the damage has been read."""


@dataclass(slots=True)
class Group:
    """The members of one sample."""

    key: str
    """Their common name."""
    where: str
    """Shard and key, for an error."""
    parts: dict[str, bytes] = field(default_factory=dict)
    """Extension, in lower case, to content; only the extensions that were asked for."""
    others: list[str] = field(default_factory=list)
    """Some of the other extensions, whose contents were not read."""
    problem: str = ""
    """The first thing that is wrong with a member, or empty."""


class _Archive(tarfile.TarFile):
    members: list[tarfile.TarInfo]


class _Header(tarfile.TarInfo):
    """A header whose own contents, such as a long name, cannot fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _LONG_HEADERS and header.size > _MAX_HEADER):
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def tar_groups(path: Path, extensions: Container[str], max_bytes: int) -> Iterator[Group]:
    """The samples of one shard.

    Args:
        path: a tar without compression.
        extensions: which members to read, in lower case.
        max_bytes: the largest member that is read.

    Yields:
        Groups in the order of the shard, each when the next one begins. A member that must not be read is noted in its
        group: a name that is absolute or leads upwards, a link, a device, a sparse file, one that is too large, one of
        the same extension as another. Folders are passed over, and so are names without an extension.

    Raises:
        DamagedShard: the file cannot be read, is no tar, or is cut off; the group that was being read is lost.
    """
    group: Group | None = None
    try:
        with path.open("rb") as file, _Archive.open(fileobj=file, mode="r|", tarinfo=_Header) as archive:
            size = os.fstat(file.fileno()).st_size
            while (member := _next(archive, path, size)) is not None:
                archive.members.clear()  # it would remember every header
                name = member.name.removeprefix("./")
                folder, slash, last = name.rpartition("/")
                stem, dot, extension = last.partition(".")
                problem = _problem(member, name)
                if member.isdir() or not (problem or (stem and dot)):
                    continue
                key = f"{folder}{slash}{stem or last}"
                if group is None or group.key != key:
                    if group is not None:
                        yield group
                    group = Group(key, f"{path}, sample {shown(key)}")
                _add(group, extension.lower(), problem, archive, member, extensions, max_bytes)
            # The module takes anything that is no header for the end. A whole archive ends with a block of zeros.
            if os.pread(file.fileno(), tarfile.BLOCKSIZE, archive.offset) != bytes(tarfile.BLOCKSIZE):
                raise DamagedShard(f"{path}: cut off or damaged at byte {archive.offset:,}: no header and no end mark")
    except DataError:
        raise
    except Exception as error:  # the module raises nearly anything on a damaged header
        raise DamagedShard(f"{path}: not a tar that can be read to its end: {error}") from error
    if group is not None:
        yield group


def _next(archive: tarfile.TarFile, path: Path, size: int) -> tarfile.TarInfo | None:
    """The next member, unless the last one ends behind the file's end: the module would read there for ever."""
    if archive.offset > size:
        raise DamagedShard(
            f"{path}: cut off or damaged: a member ends at byte {archive.offset:,} of a file of {size:,} bytes"
        )
    return archive.next()


def _add(
    group: Group,
    extension: str,
    problem: str,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    extensions: Container[str],
    max_bytes: int,
) -> None:
    if not problem and extension not in extensions:
        if len(group.others) < 10:
            group.others.append(extension)
        return
    if not problem and extension in group.parts:
        problem = "a member of this name came before"
    if not problem and member.size > max_bytes:
        problem = f"{member.size:,} bytes are too many, at most {max_bytes:,} are read"
    if problem:
        group.problem = group.problem or f"member {shown(member.name)}: {problem}"
        return
    content = archive.extractfile(member)
    group.parts[extension] = b"" if content is None else content.read()


def _problem(member: tarfile.TarInfo, name: str) -> str:
    try:
        path_inside(name, Path())
    except MediaError as error:
        return str(error)
    if not member.isreg() or member.issparse():
        kind = "a sparse file" if member.issparse() else _KINDS.get(member.type, f"type {shown(member.type)}")
        return f"expected a plain file, got {kind}"
    return ""
