"""An unreachable hub is asked once, and then the cache alone is read."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import huggingface_hub.constants as constants
import pytest
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from inlay.hub.remote import reachable
from inlay.hub.remote.reachable import cache_if_unreachable, is_missing_in_cache


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a port on which nothing listens; a pause between two tries fails the test."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(reachable, "_asked", {})
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: pytest.fail("tried again"))
        yield address


def test_a_missing_file_is_an_error_at_once(closed: str, tmp_path: object) -> None:
    with cache_if_unreachable() as reason, pytest.raises(LocalEntryNotFoundError) as caught:
        hf_hub_download("me/x", "config.json", cache_dir=str(tmp_path))
    assert reason
    assert is_missing_in_cache(caught.value)


def test_the_hub_is_asked_once(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    own = reachable._ask
    monkeypatch.setattr(reachable, "_ask", lambda address: [asked.append(address), own(address)][1])
    for _ in range(3):
        with cache_if_unreachable() as outer, cache_if_unreachable() as inner:
            assert outer == inner != ""
    assert asked == [closed]


def test_requests_are_sent_again_after_the_block(closed: str) -> None:
    with cache_if_unreachable(), cache_if_unreachable():
        assert constants.is_offline_mode()
    assert not constants.is_offline_mode()


def test_any_answer_counts_as_reachable(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachable, "_ask", lambda _: "")
    with cache_if_unreachable() as reason:
        assert reason == ""
        assert not constants.is_offline_mode()


def test_the_users_offline_mode_is_kept_and_sends_no_request(closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(reachable, "_ask", lambda _: pytest.fail("a request was sent"))
    with cache_if_unreachable() as reason:
        assert reason == ""
    assert constants.is_offline_mode()


def test_another_error_is_not_a_missing_file() -> None:
    assert not is_missing_in_cache(OSError("no space"))
