"""The cache behind a pull: what is there already, what others left, and what happens without a network."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from hub_emulator import Hub

from inlay.hub import HubError, pull
from inlay.hub.remote.download import OldCopyWarning

Publish = Callable[..., str]


def test_offline_uses_the_cache(hub: Hub, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = publish(0.5)
    pull("me/x")
    hub.seen.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert pull("me/x").commit == commit
    with pytest.raises(HubError, match=r"not in the cache") as caught:
        pull("me/x", revision="v1")
    assert caught.value.problem == "offline"
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set, so nothing can be downloaded again"):
        pull("me/x", force_download=True)
    assert hub.seen == []


def test_a_commit_that_is_in_the_cache_needs_no_network(
    hub: Hub, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = publish(0.5)
    pull("me/x")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert pull("me/x", revision=commit).commit == commit


def test_without_network_the_copy_in_the_cache_is_used_and_told(
    hub: Hub, publish: Publish, no_pauses: Callable[[], None]
) -> None:
    no_pauses()
    commit = publish(0.5)
    pull("me/x")
    with pytest.warns(OldCopyWarning, match=r"cannot be reached.*The copy in the cache is used"):
        assert pull("me/x", endpoint="http://127.0.0.1:9").commit == commit


def test_a_second_pull_asks_only_for_the_revision(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    pull("me/x")
    hub.seen.clear()
    pull("me/x")
    assert [seen.path for seen in hub.seen] == ["/api/models/me/x/revision/main"]
    pull("me/x", force_download=True)
    assert len(hub.requests("GET .*/resolve/")) == 5


def test_leftovers_of_dead_processes_are_removed_and_live_ones_kept(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    publish(0.5)
    blobs = pull("me/x").folder.parents[1] / "blobs"
    for name, age in (("dead", 3600), ("alive", 1)):
        (blobs / f"{name}.12345678.incomplete").write_bytes(b"half")
        os.utime(blobs / f"{name}.12345678.incomplete", (time.time() - age,) * 2)
    publish(2.0)
    pull("me/x")
    assert [path.name for path in list((tmp_path / "cache").rglob("*.incomplete"))] == ["alive.12345678.incomplete"]


def test_a_full_disk_is_told(hub: Hub, publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:

    publish(0.5)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(HubError, match=r"no space left on the disk") as caught:
        pull("me/x")
    assert caught.value.problem == "space"


def test_a_cache_that_cannot_be_written_is_told(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    publish(0.5)
    (tmp_path / "file").write_text("x")
    with pytest.raises(HubError, match=r"the cache cannot be written") as caught:
        pull("me/x", cache_dir=tmp_path / "file")
    assert caught.value.problem == "space"
