"""Media from ``http(s)`` URLs, which are fetched only if the user allows it, and kept in a cache folder.

A data file decides which addresses are visited, so each fetch is bounded: at most ``MAX_BYTES`` and ``SECONDS``, ports
80 and 443, no user names, no proxies and no cookies. Every address of a host must be public, and the connection goes to
the address that was checked, so that neither a redirect nor a changed DNS answer leads into a private network. The file
in the cache is named by the SHA-256 of its URL and written atomically.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import re
import socket
import ssl
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, urljoin, urlsplit

from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.sources import EncodedMedium
from inlay.hub.safety.text import shown

__all__ = ["MAX_BYTES", "RemoteMedium", "is_url", "url_cache"]

MAX_BYTES = 64 << 20
"""The largest medium that is fetched."""
SECONDS = 30.0
"""The longest time for one medium, with all redirects."""
_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"https?://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether a text is an ``http(s)`` URL.

    Example:
        >>> is_url("https://host/a.png"), is_url("a.png")
        (True, False)
    """
    return _URL.match(text) is not None


def url_cache() -> Path:
    """The cache folder of fetched media: ``inlay/media`` below ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inlay" / "media"


@dataclass(frozen=True)
class RemoteMedium(EncodedMedium):
    """A medium behind a URL, fetched when it is first opened."""

    url: str
    cache: Path = field(compare=False)
    name: str = field(compare=False)
    downscale: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, url: str, cache: Path | None, name: str, *, downscale: bool = False) -> RemoteMedium:
        """The medium of a URL.

        Raises:
            MediaError: `cache` is None, because URLs are not allowed, or a URL that is never fetched.
        """
        if cache is None:
            raise MediaError(
                f"{name}: expected a file, got the URL {shown(url)}; nothing is fetched from a network unless it is "
                "allowed with --data.allow_urls true"
            )
        _checked(url, name)
        return cls(url, cache, name, downscale)

    def __str__(self) -> str:
        return self.url

    @property
    def file(self) -> Path:
        """Its place in the cache."""
        return self.cache / hashlib.sha256(self.url.encode()).hexdigest()

    def open(self) -> BinaryIO:
        """The file in the cache, fetched if it is not there.

        Raises:
            MediaError: it cannot be fetched.
        """
        try:
            if not self.file.is_file():
                _store(self.file, _fetched(self.url, self.name))
            return self.file.open("rb")
        except OSError as error:
            raise MediaError(f"{self.name}: {self.url}: the cache {self.cache} cannot be used: {error}") from error


def _store(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _fetched(url: str, name: str) -> bytes:
    until = time.monotonic() + SECONDS
    for _ in range(_REDIRECTS + 1):
        parts = _checked(url, name)
        try:
            connection = _connection(parts, name, until)
            # A timeout of the socket bounds each read; the timer bounds all of them together.
            timer = threading.Timer(max(0.0, until - time.monotonic()), _shut, [connection.sock])
            timer.start()
            try:
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", target, headers={"User-Agent": "inlay", "Accept-Encoding": "identity"})
                with connection.getresponse() as answer:
                    if answer.status in (301, 302, 303, 307, 308):
                        url = urljoin(url, answer.headers.get("Location", ""))
                        continue
                    if answer.status != 200:
                        raise MediaError(f"{name}: {shown(url)}: the server answered {answer.status}")
                    data = _body(answer, url, name)
                if time.monotonic() >= until:  # The timer ends the answer, which then looks complete.
                    raise TimeoutError
                return data
            finally:
                timer.cancel()
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= until:
                raise MediaError(f"{name}: {shown(url)}: not fetched within {SECONDS:.0f} s") from error
            raise MediaError(f"{name}: {shown(url)}: cannot be fetched: {error}") from error
    raise MediaError(f"{name}: {shown(url)}: more than {_REDIRECTS} redirects")


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _body(answer: http.client.HTTPResponse, url: str, name: str) -> bytes:
    stated = int(answer.headers.get("Content-Length") or 0)
    data = b"" if stated > MAX_BYTES else answer.read(MAX_BYTES + 1)
    if max(stated, len(data)) > MAX_BYTES:
        raise MediaError(f"{name}: {shown(url)}: larger than {MAX_BYTES:,} bytes")
    if len(data) < stated:
        raise MediaError(f"{name}: {shown(url)}: cut off: {len(data):,} of {stated:,} bytes came")
    return data


def _checked(url: str, name: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise MediaError(f"{name}: expected an http(s) URL, got {shown(url)}: {error}") from None
    if (
        parts.scheme.lower() not in _PORTS
        or not parts.hostname
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise MediaError(f"{name}: expected an http(s) URL, got {shown(url)}")
    if parts.username is not None or (port or _PORTS[parts.scheme.lower()]) not in _PORTS.values():
        raise MediaError(f"{name}: expected a URL without a user name and with port 80 or 443, got {shown(url)}")
    return parts


def _connection(parts: SplitResult, name: str, until: float) -> http.client.HTTPConnection:
    """A connection to a checked address of the host."""
    host, secure = str(parts.hostname), parts.scheme.lower() == "https"
    port = parts.port or _PORTS[parts.scheme.lower()]
    address = _address(host, port, name)
    left = max(0.1, until - time.monotonic())
    connection = http.client.HTTPConnection(host, port, timeout=left)
    sock = _connected(address, port, left)
    connection.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host) if secure else sock
    return connection


def _connected(address: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((address, port), timeout=timeout)


def _addresses(host: str, port: int) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _address(host: str, port: int, name: str) -> str:
    """A public address of a host; an error if any of its addresses is not public."""
    found = _addresses(host, port)
    for text in found:
        if not _is_public(text):
            raise MediaError(f"{name}: {shown(host)} has the address {text}, which is not public; nothing is fetched")
    return found[0]


def _is_public(text: str) -> bool:
    """Whether an address is on the public Internet, also behind the prefixes that carry an IPv4 address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            address = inner
        elif address in ipaddress.ip_network("64:ff9b::/96"):
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.is_global and not address.is_multicast
