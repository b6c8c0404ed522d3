"""Media from URLs: only public hosts, bounded, cached; tried against a server on this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inlay.adapters.media.digest import media_digest
from inlay.adapters.media.errors import MediaError
from inlay.adapters.media.sources import MediaBytes
from inlay.recipes.data.rows import remote
from inlay.recipes.data.rows.remote import RemoteMedium

WHERE = "a.jsonl, line 3, image"


class Handler(BaseHTTPRequestHandler):
    """A file, redirects, and answers without an end."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Host")))
        with suppress(OSError):
            self._answer()

    def _answer(self) -> None:
        place = {"/again": "/again", "/moved": "/1.png?x=1", "/inside": "http://10.0.0.1/secret"}.get(self.path)
        if place:
            self.send_response(302)
            self.send_header("Location", place)
            self.end_headers()
        elif self.path == "/gone":
            self.send_error(404)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(1 << 12):
                self.wfile.write(bytes(1 << 12))
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"a")
                self.wfile.flush()
                time.sleep(0.05)
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"picture")
        elif self.path == "/stated":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"picture")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that stands for a public host at port 80."""
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as held:
        held.daemon_threads = True
        threading.Thread(target=held.serve_forever, daemon=True).start()

        def connected(address: str, port: int, timeout: float) -> socket.socket:
            assert (address, port) == ("93.184.216.34", 80)
            return socket.create_connection(("127.0.0.1", held.server_port), timeout)

        monkeypatch.setattr(remote, "_connected", connected)
        monkeypatch.setattr(remote, "_addresses", lambda host, _: ["93.184.216.34" if host == "host" else host])
        yield held
        held.shutdown()


def of(url: str, cache: Path) -> RemoteMedium:
    return RemoteMedium.of(url, cache, WHERE)


def test_a_medium_is_fetched_once_and_kept_by_the_digest_of_its_url(server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        with of("http://host/1.png?x=1", tmp_path / "cache").open() as file:
            assert file.read() == b"picture"
    assert Handler.asked == [("/1.png?x=1", "host")]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert media_digest("image", of("http://host/1.png?x=1", tmp_path / "cache")) == media_digest(
        "image", MediaBytes(b"picture")
    )


def test_a_redirect_is_followed(server: Any, tmp_path: Path) -> None:
    with of("http://host/moved", tmp_path).open() as file:
        assert file.read() == b"picture"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("again", "more than 5 redirects"),
        ("inside", "10.0.0.1, which is not public"),
        ("gone", "the server answered 404"),
        ("endless", "larger than 1,000 bytes"),
        ("stated", "larger than 1,000 bytes"),
        ("slow", "not fetched within"),
        ("short", "cut off: 7 of 9 bytes came"),
    ],
)
def test_a_fetch_is_bounded_and_leaves_nothing_behind(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 1000)
    monkeypatch.setattr(remote, "SECONDS", 1.0)
    with pytest.raises(MediaError, match=said) as error:
        of(f"http://host/{path}", tmp_path / "cache").open()
    assert str(error.value).startswith(WHERE)
    assert not (tmp_path / "cache").exists()


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104  # an address to refuse, not to bind
    "224.0.0.1",
    "2130706433",
    "[::1]",
    "[fe80::1]",
    "[fc00::1]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_an_address_that_is_not_public_is_never_visited(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_connected", lambda *_: pytest.fail("connected"))
    with pytest.raises(MediaError, match=r"not public|cannot be fetched"):
        of(f"http://{host}/latest/meta-data", tmp_path).open()


def test_a_host_with_one_private_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_addresses", lambda *_: ["93.184.216.34", "127.0.0.1"])
    monkeypatch.setattr(remote, "_connected", lambda *_: pytest.fail("connected"))
    with pytest.raises(MediaError, match=r"'host' has the address 127\.0\.0\.1"):
        of("http://host/1.png", tmp_path).open()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:word@host/1.png",
        "http://host:22/1.png",
        "http://host:x/1.png",
        "http:///1.png",
        "http://host/a b",
        "http://host/\r\nX: 1",
        "http://host/\u00e9",
    ],
)
def test_unusual_urls_are_refused_before_anything_is_resolved(url: str, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"expected an? (http|URL)"):
        of(url, tmp_path)


def test_without_permission_a_url_is_refused() -> None:
    with pytest.raises(MediaError, match=r"--data\.allow_urls true"):
        RemoteMedium.of("http://host/1.png", None, WHERE)
