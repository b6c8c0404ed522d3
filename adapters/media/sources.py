"""Encoded media that are not plain files: bytes in memory, base64, ``data:`` URIs, and paths that may be downscaled.

They are read by the same decoders, with the same limits, as files. A medium in memory is identified by the SHA-256 of
its bytes, like a file, so a feature cache stores equal content once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import BinaryIO

from inlay.adapters.media.errors import MediaError

if sys.platform == "win32":
    from pathlib import WindowsPath as _NativePath
else:
    from pathlib import PosixPath as _NativePath

__all__ = ["IN_MEMORY", "DownscaledPath", "EncodedMedium", "MediaBytes", "data_uri", "from_base64"]

_DATA_URI = re.compile(r"data:(?P<type>[^;,]*)(?P<options>(?:;[^;,]*)*),", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
IN_MEMORY = "the medium in memory"


class EncodedMedium:
    """An encoded file that is not a plain path; subclasses provide the bytes."""

    name: str
    """Its name in errors."""
    downscale: bool
    """Whether a picture or a clip above the default budget is downscaled instead of refused."""

    def open(self) -> BinaryIO:
        """The encoded bytes as a seekable file.

        Raises:
            MediaError: they cannot be read.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class MediaBytes(EncodedMedium):
    """The bytes of an encoded file, such as a PNG, compared by content.

    Example:
        >>> str(MediaBytes(b"abc"))[:14]
        'sha256:ba7816b'
    """

    data: bytes = field(repr=False)
    name: str = field(default=IN_MEMORY, compare=False)
    downscale: bool = field(default=False, compare=False)

    def open(self) -> BinaryIO:
        """The bytes as a file."""
        return BytesIO(self.data)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, 64 hex digits."""
        return hashlib.sha256(self.data).hexdigest()

    def __str__(self) -> str:
        return f"sha256:{self.digest}"


class DownscaledPath(_NativePath):
    """A path whose picture or clip is downscaled, and not refused, if it is above the default budget."""

    downscale = True


def from_base64(text: str, name: str) -> MediaBytes:
    """The medium of a base64 text; white space is ignored, as in MIME.

    Args:
        text: standard or URL-safe alphabet.
        name: its name in errors.

    Raises:
        MediaError: not base64, or empty.
    """
    plain = _SPACES.sub("", text).replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError(f"{name}: expected base64, got {plain[:24]!r}...: {error}") from None
    if not data:
        raise MediaError(f"{name}: expected base64 of a file, got an empty text")
    return MediaBytes(data, name)


def data_uri(text: str, name: str) -> MediaBytes | None:
    """The medium of a ``data:`` URI (RFC 2397) with base64; None for any other text.

    Args:
        text: the URI. Its media type is ignored: the decoder is chosen by the first bytes.
        name: its name in errors.

    Raises:
        MediaError: a ``data:`` URI without ``;base64``, or with invalid base64.

    Example:
        >>> data_uri("data:image/png;base64,YWJj", "a").data
        b'abc'
    """
    found = _DATA_URI.match(text)
    if found is None:
        if text[:5].lower() == "data:":
            raise MediaError(f"{name}: expected data:TYPE;base64,..., got {text[:40]!r}")
        return None
    if "base64" not in found["options"].lower().split(";"):
        raise MediaError(f"{name}: expected a data: URI with ;base64, got {text[: found.end()][:60]!r}")
    return from_base64(text[found.end() :], name)
