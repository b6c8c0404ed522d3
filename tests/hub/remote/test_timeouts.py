"""A hub that accepts connections and never answers: every call ends, after HF_HUB_DOWNLOAD_TIMEOUT.

Without a limit these tests do not end at all, so no time is measured.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest
from hub_emulator import Hub
from huggingface_hub.utils import httpx  # exported by __getattr__

from inlay.hub import HubError, pull, push
from inlay.hub.remote.inspect import inspect_bundle
from inlay.hub.remote.search import on_hub
from inlay.hub.remote.timeouts import NoAnswerError, seconds, time_limit


@pytest.fixture
def silent(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server whose kernel accepts connections and that never reads or answers; limit 0.2 s."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


CALLS: dict[str, Callable[[Path, str], object]] = {
    "search": lambda folder, url: on_hub({}, endpoint=url),
    "push": lambda folder, url: push(folder, "me/x", endpoint=url),
    "pull": lambda folder, url: pull("me/x", endpoint=url),
    "inspect": lambda folder, url: inspect_bundle("me/none", endpoint=url),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_silent_hub_is_an_error_that_names_the_limit(silent: str, folder: Path, call: str) -> None:
    with pytest.raises(HubError, match=r"did not answer in time|not in the cache") as caught:
        CALLS[call](folder, silent)
    if call != "inspect":  # which then looks into the cache
        assert caught.value.problem == "network"
        assert "raise HF_HUB_DOWNLOAD_TIMEOUT (now 0.2 seconds)" in str(caught.value)


STAGES = {
    "create": "POST /api/repos/create",
    "preupload": "POST .*/preupload/",
    "batch": "POST .*/info/lfs/objects/batch",
    "upload": "PUT /lfs/",
    "commit": "POST .*/commit/",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_push_that_gets_no_answer_in_the_middle_ends(
    hub: Hub, folder: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.lfs = re.compile(r"\.safetensors$")
    hub.fail(STAGES[stage], "hang", times=99, value=600)
    monkeypatch.setattr("inlay.hub.remote.timeouts.WRITE_FACTOR", 0.02)  # of the 20 s of every test
    with pytest.raises(HubError, match=r"did not answer in time"):
        push(folder, "me/x")


def test_a_write_may_take_longer_than_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 7)
    assert (seconds("GET"), seconds("HEAD"), seconds("POST"), seconds("PUT")) == (7, 7, 21, 21)


def test_the_limit_holds_for_huggingface_hub_as_a_whole_and_ends_with_the_call(silent: str) -> None:
    """Retries are not waited for, and requests of other code are as before."""
    limits = []
    session = huggingface_hub.get_session()
    with time_limit():
        request = session.build_request("GET", silent, timeout=None)
        for hook in session.event_hooks["request"]:
            hook(request)
        limits.append(request.extensions["timeout"]["read"])
        with pytest.raises(httpx.ReadTimeout):
            session.send(request)
        with pytest.raises(NoAnswerError):
            session.send(request)
    request = session.build_request("GET", silent, timeout=None)
    for hook in session.event_hooks["request"]:
        hook(request)
    limits.append(request.extensions["timeout"]["read"])
    assert limits == [0.2, None]


def test_a_shorter_limit_of_the_request_is_kept(silent: str) -> None:
    session = huggingface_hub.get_session()
    with time_limit():
        request = session.build_request("GET", silent, timeout=0.05)
        for hook in session.event_hooks["request"]:
            hook(request)
    assert request.extensions["timeout"]["read"] == 0.05
