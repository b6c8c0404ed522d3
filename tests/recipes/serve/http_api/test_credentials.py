"""Sessions end: by time, and by number."""

from __future__ import annotations

import pytest

from inlay.recipes.serve.http_api import credentials
from inlay.recipes.serve.http_api.credentials import Credentials


def test_a_session_ends_after_twelve_hours() -> None:
    now = [0.0]
    own = Credentials("a-key-of-sixteen-characters", clock=lambda: now[0])
    cookie = own.begin_session(secure=True).partition(";")[0]
    now[0] = 12 * 3600 - 1
    assert own.has_session(cookie)
    now[0] = 12 * 3600 + 1
    assert not own.has_session(cookie)


def test_of_too_many_sessions_the_oldest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_MOST", 2)
    own = Credentials("a-key-of-sixteen-characters")
    cookies = [own.begin_session(secure=False).partition(";")[0] for _ in range(3)]
    assert [own.has_session(cookie) for cookie in cookies] == [False, True, True]
