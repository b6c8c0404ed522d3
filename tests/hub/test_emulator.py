"""The emulator against the client that everybody uses, unmodified: what passes here is what the other tests rest on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

FILES = {"inlay.json": b"{}\n", "README.md": b"---\nlibrary_name: inlay\n---\n", "lora/w.safetensors": b"12345678" * 99}


@pytest.fixture(params=["plain", "lfs", "xet"])
def api(request: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """The client with files sent inline, through LFS, and with Xet installed and on."""
    if request.param == "lfs":
        hub.lfs = re.compile(r"\.safetensors$")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", request.param != "xet")
    return HfApi(token="hf_owner")


def _commit(api: HfApi, files: dict[str, bytes], **options: Any) -> str:
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    return api.create_commit("me/x", operations, commit_message="files", **options).oid


def test_a_round_trip_of_one_commit(api: HfApi, hub: Any, tmp_path: Path) -> None:
    api.create_repo("me/x", private=True)
    oid = _commit(api, FILES)
    assert api.whoami()["name"] == "me"
    assert api.model_info("me/x", files_metadata=True).sha == oid
    assert set(api.list_repo_files("me/x")) == {*FILES, ".gitattributes"}
    found = snapshot_download("me/x", cache_dir=tmp_path / "c", endpoint=hub.url, token="hf_owner")
    for name, data in FILES.items():
        assert (Path(found) / name).read_bytes() == data
    assert not list((tmp_path / "c").rglob("*.incomplete"))


def test_what_has_not_changed_is_not_sent_again(api: HfApi, hub: Any) -> None:
    api.create_repo("me/x")
    first = _commit(api, FILES)
    hub.seen.clear()
    assert _commit(api, FILES) == first
    assert hub.requests("/commit/|PUT /lfs/") == []


def test_branches_tags_pull_requests_and_deletions(api: HfApi, hub: Any) -> None:
    api.create_repo("me/x")
    first = _commit(api, FILES)
    api.create_branch("me/x", branch="next")
    api.create_tag("me/x", tag="v1", revision=first)
    _commit(api, {"a.txt": b"a"}, revision="next")
    info = api.create_commit("me/x", [CommitOperationDelete("inlay.json")], commit_message="drop", create_pr=True)
    assert info.pr_revision == "refs/pr/1"
    assert api.list_repo_files("me/x", revision="v1") == api.list_repo_files("me/x")
    assert "a.txt" in api.list_repo_files("me/x", revision="next")
    assert "inlay.json" not in api.list_repo_files("me/x", revision="refs/pr/1")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_tag("me/x", tag="v1")
    assert caught.value.response.status_code == 409


def test_a_stale_parent_is_refused(api: HfApi) -> None:
    api.create_repo("me/x")
    old = api.model_info("me/x").sha
    _commit(api, FILES)
    with pytest.raises(HfHubHTTPError) as caught:
        _commit(api, {"b": b"b"}, parent_commit=old)
    assert caught.value.response.status_code == 412


def test_errors_are_told_apart(hub: Any, tmp_path: Path) -> None:
    owner, reader, nobody = (HfApi(token=token) for token in ("hf_owner", "hf_reader", False))
    owner.create_repo("me/x", private=True)
    owner.create_repo("me/gated")
    hub.repos["me/gated"].gated = True
    for api in (reader, nobody):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("me/x")
    with pytest.raises(GatedRepoError):
        hf_hub_download("me/gated", ".gitattributes", cache_dir=tmp_path, token="hf_reader", endpoint=hub.url)
    with pytest.raises(RevisionNotFoundError):
        owner.model_info("me/x", revision="nowhere")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("me/x", "nothing", cache_dir=tmp_path, token="hf_owner", endpoint=hub.url)
    with pytest.raises(HfHubHTTPError, match=r"Invalid user token"):
        HfApi(token="hf_wrong").whoami()


def test_pages_of_a_long_listing_are_followed(api: HfApi, hub: Any) -> None:
    hub.page = 2
    api.create_repo("me/x")
    _commit(api, {f"{number}.txt": b"x" for number in range(7)})
    assert len(list(api.list_repo_files("me/x"))) == 8
    assert len(hub.requests("GET .*/tree/")) == 4


def test_a_cut_connection_is_tried_again(hub: Any, tmp_path: Path) -> None:
    api = HfApi(token="hf_owner")
    api.create_repo("me/x")
    _commit(api, FILES)
    hub.fail("GET .*/resolve/.*lora", "truncate")
    path = hf_hub_download("me/x", "lora/w.safetensors", cache_dir=tmp_path, endpoint=hub.url)
    assert Path(path).read_bytes() == FILES["lora/w.safetensors"]
    assert len(hub.requests("GET .*lora")) == 2


def test_the_client_does_not_see_wrong_bytes_of_the_right_length(hub: Any, tmp_path: Path) -> None:
    """Why a bundle's hashes are checked by inlay: if this ever fails, the client has begun to check, too."""
    api = HfApi(token="hf_owner")
    api.create_repo("me/x")
    _commit(api, FILES)
    hub.fail("GET .*/resolve/.*lora", "wrong")
    path = hf_hub_download("me/x", "lora/w.safetensors", cache_dir=tmp_path, endpoint=hub.url)
    assert Path(path).read_bytes() != FILES["lora/w.safetensors"]


def test_the_token_stays_on_the_host(hub: Any, tmp_path: Path) -> None:
    hub.lfs = re.compile(r"\.safetensors$")
    api = HfApi(token="hf_owner")
    api.create_repo("me/x")
    _commit(api, FILES)
    snapshot_download("me/x", cache_dir=tmp_path, endpoint=hub.url, token="hf_owner")
    assert {(seen.host, seen.token) for seen in hub.requests("GET /cdn/")} == {("localhost", None)}


def test_a_repository_that_is_deleted_is_gone(api: HfApi) -> None:
    api.create_repo("me/x")
    api.update_repo_settings("me/x", private=True)
    assert api.model_info("me/x").private
    api.delete_repo("me/x")
    assert not api.repo_exists("me/x")
