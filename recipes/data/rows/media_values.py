"""Values of a row that name or hold a medium, and the rules by which they become a source.

A value is a path (relative, absolute, ``file://``), an ``http(s)`` URL, a ``data:`` URI, base64, bytes, a picture in
memory, ``{"bytes": ..., "path": ...}`` as parquet holds it, or ``{"array": ..., "sampling_rate": ...}``. Paths must lie
in the folder of the media, and URLs are refused, unless the rules say otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.modality import Modality
from inlay.adapters.media.sources import DownscaledPath, MediaBytes, data_uri, from_base64
from inlay.adapters.media.untrusted import path_inside
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.remote import RemoteMedium, is_url
from inlay.recipes.data.rows.sample import DataError

__all__ = ["MediaRules", "Root", "image_path", "medium", "values_of"]

_DRIVE = re.compile(r"[a-z]:|\\\\", re.IGNORECASE)
_PLAIN = re.compile(r"\w[\w .-]*(?:/\w[\w .-]*)*", re.ASCII)
"""A relative path that needs no further look: no scheme, no drive, no ``..``, and too short for base64."""
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n_-]{64,}={0,2}\s*")
_FIRST_BYTES = ("/9j/", "iVBORw0KGg", "UklGR", "R0lGOD", "SUkq", "TU0AK", "ZkxhQ", "T2dnU", "SUQz", "GkXfo", "AAAA")
"""Base64 of the first bytes of pictures, sounds and clips: a text that begins so is not taken for a path."""
_STRUCTS = (("bytes",), ("path",), ("url",), ("base64",), ("data",), ("array", "sampling_rate"))


@dataclass(frozen=True, slots=True)
class MediaRules:
    """The folder of the media, and the sources that are allowed beside files in it."""

    folder: Path | None = None
    """Absolute; None if no file may be named."""
    links: bool = False
    """Whether absolute paths and symbolic links may lead out of the folder."""
    urls: Path | None = None
    """The cache folder of media from ``http(s)`` URLs; None to refuse URLs."""
    downscale: bool = False
    """Whether pictures and clips beyond the usual budget are downscaled instead of refused."""

    @classmethod
    def of(cls, root: Root) -> MediaRules:
        """The rules for a folder alone, or the rules themselves."""
        if isinstance(root, MediaRules):
            return root
        return cls(None if root is None else Path(root).absolute())


Root: TypeAlias = Path | str | MediaRules | None
"""The folder of the media, with rules or without; None if there are no files."""


@lru_cache(64)
def _homes(folder: Path) -> tuple[str, ...]:
    """The folder as it is named, and with all links resolved."""
    return tuple(dict.fromkeys((os.path.normpath(folder), os.path.realpath(folder))))


def values_of(value: object) -> list[Any]:
    """The media of a field: none, one value, or a list of values.

    Example:
        >>> values_of(None), values_of("1.png"), values_of([b"a", {"path": "2.png"}])
        ([], ['1.png'], [b'a', {'path': '2.png'}])
    """
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def medium(value: Any, modality: Modality, root: Root, where: str) -> Any:
    """The source of one medium.

    Args:
        value: as the row holds it.
        modality: of the medium.
        root: the folder of the media, or rules.
        where: the place, for errors.

    Returns:
        A path, an :class:`~inlay.adapters.media.sources.EncodedMedium`, or an object in memory.

    Raises:
        DataError: a value that is none of these, or a source that the rules refuse.
    """
    rules = MediaRules.of(root)
    try:
        if isinstance(value, str):
            return _of_text(value, rules, where)
        if isinstance(value, Path):
            return _scaled(image_path(str(value), rules, where), rules)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return MediaBytes(_filled(bytes(value), where), where, rules.downscale)
        if isinstance(value, Mapping):
            return _of_struct(value, rules, where)
    except MediaError as error:
        raise DataError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    if modality == "image" and hasattr(value, "tobytes"):  # a picture of Pillow, or an array
        return value
    expected = "a path, a URL, base64, bytes, or an object with 'bytes' or 'path'"
    raise DataError(f"{where}: expected {expected}, got {shown(value)}")


def _of_text(text: str, rules: MediaRules, where: str) -> Any:
    if len(text) < 64 and rules.folder is not None and _PLAIN.fullmatch(text):
        return _scaled(rules.folder / text, rules)
    if (found := data_uri(text, where)) is not None:
        return MediaBytes(found.data, where, rules.downscale)
    if len(text) >= 64 and text.startswith(_FIRST_BYTES) and _BASE64.fullmatch(text):
        return MediaBytes(from_base64(text, where).data, where, rules.downscale)
    if is_url(text):
        return RemoteMedium.of(text, rules.urls, where, downscale=rules.downscale)
    return _scaled(image_path(text, rules, where), rules)


def _of_struct(value: Mapping[str, Any], rules: MediaRules, where: str) -> Any:
    """``bytes`` go before ``path``, which then is only a name, as in `datasets`."""
    given = next((keys for keys in _STRUCTS if all(value.get(key) is not None for key in keys)), None)
    if given is None:
        known = ", ".join(" and ".join(keys) for keys in _STRUCTS)
        raise DataError(f"{where}: expected an object with {known}, got {shown(sorted(map(str, value)))}")
    held = value[given[0]]
    if given == ("array", "sampling_rate"):
        return held, value["sampling_rate"]
    if given in (("base64",), ("data",), ("bytes",)) and isinstance(held, str):
        found = data_uri(held, where) or from_base64(held, where)
        return MediaBytes(found.data, where, rules.downscale)
    if given in (("bytes",), ("data",)):
        if not isinstance(held, (bytes, bytearray)):
            raise DataError(f"{where}, {given[0]}: expected bytes or base64, got {shown(held)}")
        return MediaBytes(_filled(bytes(held), where), where, rules.downscale)
    if not isinstance(held, str):
        raise DataError(f"{where}, {given[0]}: expected text, got {shown(held)}")
    return _of_text(held, rules, where)


def _filled(data: bytes, where: str) -> bytes:
    if not data:
        raise DataError(f"{where}: the medium has no bytes")
    return data


def _scaled(path: Path, rules: MediaRules) -> Path:
    return DownscaledPath(path) if rules.downscale else path


def image_path(name: str, root: Root, where: str) -> Path:
    r"""The path of a file in the folder of the media; a backslash separates folders, as in files written on Windows.

    Args:
        name: a relative or absolute path, or a ``file://`` URI.
        root: the folder, or rules.
        where: the place, for errors.

    Raises:
        DataError: no folder was given, or the path leaves it.

    Example:
        >>> image_path(r"sub\1.png", Path("/images"), "train.json, item 0").as_posix()
        '/images/sub/1.png'
    """
    rules = MediaRules.of(root)
    if name[:5].lower() == "file:":
        name = _of_uri(name, where)
    absolute = name.startswith("/") and "\0" not in name
    if rules.folder is None and not (absolute and rules.links):
        raise DataError(f"{where}: the data have media; name their folder")
    if absolute:
        return _absolute(name, rules, where)
    folder = rules.folder or Path()
    try:
        return path_inside(name if _DRIVE.match(name) else name.replace("\\", "/"), folder)
    except MediaError as error:
        raise DataError(f"{where}: {error}") from None


def _of_uri(uri: str, where: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise DataError(f"{where}: expected a file URI without a host, got {shown(uri)}")
    return unquote(parts.path)


def _absolute(name: str, rules: MediaRules, where: str) -> Path:
    if ".." in name.split("/"):
        raise DataError(f"{where}: {shown(name)} has '..'; write the path without it")
    path = os.path.normpath(name)
    homes = () if rules.folder is None else _homes(rules.folder)
    if not rules.links and not any(path.startswith(home.rstrip("/") + "/") for home in homes):
        raise DataError(
            f"{where}: the absolute path {shown(name)} lies outside of the folder {rules.folder}; name a folder that "
            "contains it (--data.images), or allow such paths with --data.links true"
        )
    return Path(path)
