"""Pulling with a key that the bundle has to be signed by: the cache keeps no bundle that was refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hub_emulator import Hub
from hub_keys import write_keys

from inlay.hub import HubError, SignatureError, pull, sign
from inlay.hub.remote.download import OldCopyWarning

Publish = Callable[..., str]
NoPauses = Callable[[], None]


@pytest.fixture
def signed(hub: Hub, publish: Publish, tmp_path: Path) -> tuple[str, Path]:
    """The commit of a signed bundle in ``me/x``, and the public key."""
    private, public = write_keys(tmp_path, "me")
    publish(0.5)
    sign(tmp_path / "published", private)
    return _commit_folder(hub, tmp_path / "published"), public


def _commit_folder(hub: Hub, folder: Path) -> str:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return hub.repos["me/x"].commit(files)


def test_a_refused_bundle_does_not_replace_the_accepted_one_in_the_cache(
    hub: Hub, publish: Publish, signed: tuple[str, Path], no_pauses: NoPauses
) -> None:
    no_pauses()
    commit, public = signed
    assert pull("me/x", trusted=public).commit == commit
    publish(2.0)
    for options in ({}, {"force_download": True}):
        with pytest.raises(SignatureError, match=r"not signed"):
            pull("me/x", trusted=public, **options)
    assert pull("me/x", local_files_only=True).commit == commit
    with pytest.warns(OldCopyWarning):
        assert pull("me/x", endpoint="http://127.0.0.1:9").commit == commit


def test_a_refused_bundle_cannot_be_used_offline(hub: Hub, publish: Publish, signed: tuple[str, Path]) -> None:
    publish(2.0)
    with pytest.raises(SignatureError, match=r"not signed"):
        pull("me/x", trusted=signed[1])
    with pytest.raises(HubError, match=r"not in the cache"):
        pull("me/x", local_files_only=True)


def test_a_bundle_that_was_in_the_cache_before_needs_its_signature_too(
    hub: Hub, publish: Publish, signed: tuple[str, Path], no_pauses: NoPauses
) -> None:
    no_pauses()
    commit = publish(2.0)
    pull("me/x")
    for options in ({"local_files_only": True}, {"revision": commit}):
        with pytest.raises(SignatureError, match=r"not signed"):
            pull("me/x", trusted=signed[1], **options)
    with pytest.warns(OldCopyWarning), pytest.raises(SignatureError, match=r"not signed"):
        pull("me/x", trusted=signed[1], endpoint="http://127.0.0.1:9")


def test_a_key_that_cannot_be_used_is_an_error_before_any_request(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    publish(0.5)
    with pytest.raises(SignatureError, match=r"cannot be read"):
        pull("me/x", trusted=tmp_path / "none.pub")
    assert hub.seen == []
