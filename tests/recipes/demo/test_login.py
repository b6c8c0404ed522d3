"""The login of browsers: a form, a cookie, and who needs neither."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from serve_client import Served

KEY = "a-key-of-sixteen-characters"


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def cookie(self) -> str:
        return self.headers["set-cookie"].partition(";")[0]


def call(page: Served, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    """Without following a redirect."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    try:
        connection.request(method, path, body or None, {name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, named, response.read().decode())
    finally:
        connection.close()


def sign_in(page: Served, key: str = KEY, **headers: str) -> Reply:
    body = urlencode({"key": key}).encode()
    return call(page, "POST", "/login", body, Content_Type="application/x-www-form-urlencoded", **headers)


@pytest.fixture
def locked(open_page: Callable[..., Served]) -> Served:
    return open_page(key=KEY)


def test_a_browser_without_a_session_is_sent_to_the_login(locked: Served) -> None:
    assert (call(locked, "GET", "/").status, call(locked, "GET", "/").headers["location"]) == (303, "/login")
    assert 'type="password"' in call(locked, "GET", "/login").body
    assert call(locked, "GET", "/style.css").status == 200


@pytest.mark.parametrize("path", ["/about", "/main.js", "/examples/0/0", "/v1/models", "/metrics"])
def test_everything_else_is_401_without_a_session(locked: Served, path: str) -> None:
    assert call(locked, "GET", path).status == 401


def test_the_key_opens_a_session(locked: Served) -> None:
    entered = sign_in(locked)
    assert (entered.status, entered.headers["location"]) == (303, "/")
    assert call(locked, "GET", "/", Cookie=entered.cookie).status == 200
    assert call(locked, "GET", "/v1/models", Cookie=f"other=1; {entered.cookie}").status == 200


def test_the_cookie_is_hidden_from_scripts_and_from_other_sites(locked: Served) -> None:
    plain, other = (sign_in(locked).headers["set-cookie"] for _ in range(2))
    assert "HttpOnly" in plain
    assert "SameSite=Strict" in plain
    assert "Secure" not in plain
    assert plain.partition(";")[0] != other.partition(";")[0]
    assert KEY not in plain


def test_behind_a_proxy_with_tls_the_cookie_is_secure(open_page: Callable[..., Served]) -> None:
    page = open_page(key=KEY, proxies=("demo.example.org",))
    assert "Secure" in sign_in(page, Origin="https://demo.example.org").headers["set-cookie"]


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "é" * 20])
def test_a_wrong_key_is_401_with_the_form_again(locked: Served, key: str) -> None:
    refused = sign_in(locked, key)
    assert (refused.status, "set-cookie" in refused.headers) == (401, False)
    assert "This is not the key." in refused.body
    assert key == "" or key not in refused.body


def test_signing_out_ends_the_session_for_everybody_who_has_the_cookie(locked: Served) -> None:
    cookie = sign_in(locked).cookie
    left = call(locked, "POST", "/logout", Cookie=cookie)
    assert (left.status, "Max-Age=0" in left.headers["set-cookie"]) == (303, True)
    assert call(locked, "GET", "/about", Cookie=cookie).status == 401


@pytest.mark.parametrize("cookie", ["inlay_session=", "inlay_session=x", "inlay_session", "a" * 5000, "\x01=;;"])
def test_a_made_up_cookie_is_401(locked: Served, cookie: str) -> None:
    sign_in(locked)
    assert call(locked, "GET", "/about", Cookie=cookie.replace("\x01", "")).status == 401


def test_another_site_cannot_sign_a_user_in(locked: Served) -> None:
    assert sign_in(locked, Origin="https://evil.example").status == 403


def test_a_login_is_a_small_form(locked: Served) -> None:
    assert call(locked, "POST", "/login", b'{"key": "x"}', Content_Type="application/json").status == 415
    large = urlencode({"key": "x" * 10_000}).encode()
    assert call(locked, "POST", "/login", large, Content_Type="application/x-www-form-urlencoded").status == 413


def test_the_key_in_a_header_opens_the_api_as_before(locked: Served) -> None:
    assert call(locked, "GET", "/v1/models", Authorization=f"Bearer {KEY}").status == 200


def test_a_question_with_a_session_is_answered(locked: Served) -> None:
    cookie = sign_in(locked).cookie
    asked: dict[str, Any] = {"model": "a", "max_tokens": 2, "messages": [{"role": "user", "content": "what ?"}]}
    assert locked.call("/v1/chat/completions", asked, Cookie=cookie).status == 200
