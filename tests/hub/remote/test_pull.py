"""Pulling from a hub: one commit, only known names, checked bytes, the cache, and the copy in a folder."""

from __future__ import annotations

import re
import shutil
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from hub_emulator import Hub

from inlay.hub import Bundle, BundleError, HubError, pull

Publish = Callable[..., str]
NoPauses = Callable[[], None]


def _weight(folder: Path) -> float:
    return float(Bundle.read(folder).tensors["inputs.image.linear.weight"][0, 0])


def _incomplete(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.incomplete"))


@pytest.fixture(params=[r"$^", r"\.safetensors$"], ids=["plain", "lfs"])
def either(request: Any, hub: Hub) -> Hub:
    """The hub with files inline, and with weights on another host."""

    hub.lfs = re.compile(request.param)
    return hub


def test_a_pulled_bundle_is_the_one_that_was_published(either: Hub, publish: Publish, contents: Any) -> None:
    commit = publish(0.5)
    pulled = pull("me/x")
    assert (pulled.repo_id, pulled.commit) == ("me/x", commit)
    assert contents(pulled.folder) == either.repos["me/x"].files


@pytest.mark.parametrize("name", ["hf://me/x@v1", "hf://models/me/x@v1", "me/x@v1"])
def test_names_with_a_revision(hub: Hub, publish: Publish, name: str) -> None:
    publish(0.5, ref="v1")
    publish(2.0)
    assert _weight(pull(name).folder) == 0.5
    assert _weight(pull("me/x").folder) == 2.0
    assert _weight(pull("me/x", revision="v1").folder) == 0.5


def test_a_folder_that_exists_comes_before_a_repository(
    hub: Hub, publish: Publish, tmp_path: Path, make_bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(0.5)
    monkeypatch.chdir(tmp_path)
    make_bundle(2.0).write(tmp_path / "me" / "x")
    assert pull("me/x").folder == Path("me/x")
    assert hub.seen == []
    assert pull("hf://me/x").commit is not None


def test_a_run_folder_gives_its_bundle(tmp_path: Path, make_bundle: Any) -> None:
    make_bundle().write(tmp_path / "run" / "bundle")
    assert pull(tmp_path / "run").folder == tmp_path / "run" / "bundle"


def test_the_copy_in_a_folder_is_a_bundle_of_its_own(hub: Hub, publish: Publish, tmp_path: Path, contents: Any) -> None:
    publish(0.5)
    pulled = pull("me/x", folder=tmp_path / "mine")
    shutil.rmtree(tmp_path / "cache")
    assert contents(tmp_path / "mine") == hub.repos["me/x"].files
    assert pulled.folder == tmp_path / "mine"
    with pytest.raises(BundleError, match=r"already exists"):
        pull("me/x", folder=tmp_path / "mine")
    publish(2.0)
    pull("me/x", folder=tmp_path / "mine", overwrite=True)
    assert _weight(tmp_path / "mine") == 2.0


def test_a_folder_that_exists_is_refused_before_any_request(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    publish(0.5)
    hub.seen.clear()
    with pytest.raises(BundleError, match="already exists; choose another folder"):
        pull("me/x", folder=tmp_path)
    assert not hub.seen


def test_the_revision_is_resolved_once(hub: Hub, publish: Publish) -> None:
    """A push between two files must not mix them."""
    first = publish(0.5)
    hub.before = _once("resolve/.*/lora", lambda: publish(2.0), hub)
    pulled = pull("me/x")
    assert pulled.commit == first
    assert _weight(pulled.folder) == 0.5
    assert len(hub.requests("/revision/")) == 1
    assert {seen.path.split("/resolve/")[1].split("/")[0] for seen in hub.requests("/resolve/")} == {first}


def _once(pattern: str, action: Callable[[], object], hub: Hub) -> Callable[[str], None]:

    def before(request: str) -> None:
        if re.search(pattern, request):
            hub.before = lambda request: None
            action()

    return before


def test_only_names_of_the_format_are_asked_for(hub: Hub, publish: Publish, contents: Any) -> None:
    names = ["evil.py", "setup.py", ".git/config", "lora/adapter_model.bin", "../x", "/etc/passwd", "CON", "a/../../x"]
    publish(0.5, **dict.fromkeys(names, b"import os"), LICENSE=b"MIT")
    pulled = pull("me/x")
    asked = {seen.path.split("/", 5)[5] for seen in hub.requests("/resolve/")}
    assert asked == {
        *(
            "inlay.json",
            "README.md",
            "adapter.safetensors",
            "lora/adapter_config.json",
            "lora/adapter_model.safetensors",
        )
    }
    assert set(contents(pulled.folder)) == asked


def test_a_snapshot_that_another_program_completed_is_still_a_bundle(hub: Hub, publish: Publish) -> None:
    publish(0.5, LICENSE=b"MIT")
    huggingface_hub.snapshot_download("me/x")
    assert _weight(pull("me/x").folder) == 0.5


# --- trouble on the way ----------------------------------------------------------------------------------------------


FILES = ["adapter.safetensors", "lora/adapter_model.safetensors", "inlay.json"]
PASSING = [("truncate", None), ("status", 500), ("limit", 0), ("reset", None)]
# Nothing says what the manifest itself should be, so wrong bytes there are refused and not asked for again.
FAILURES = [(file, *fault) for file in FILES for fault in PASSING] + [(file, "wrong", None) for file in FILES[:2]]


@pytest.mark.parametrize(("file", "kind", "value"), FAILURES)
def test_one_failure_is_made_good(
    either: Hub, publish: Publish, tmp_path: Path, kind: str, value: Any, file: str, no_pauses: NoPauses
) -> None:
    no_pauses()
    publish(0.5)
    path = "/cdn/" if either.lfs.pattern != r"$^" and file.endswith("safetensors") else f"/resolve/.*/{file}"
    either.fail(f"GET .*{path}", kind, value=value)
    assert _weight(pull("me/x").folder) == 0.5
    assert _incomplete(tmp_path) == []


@pytest.mark.parametrize("kind", ["wrong", "truncate", "status", "reset", "hang"])
def test_a_failure_that_stays_is_told_and_the_old_bundle_is_whole(
    hub: Hub,
    publish: Publish,
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    no_pauses: NoPauses,
) -> None:
    no_pauses()
    old = pull("me/x", folder=tmp_path / "mine") if publish(0.5) else None
    assert old is not None
    new = publish(2.0)
    hub.fail(f"GET .*{new}/adapter", kind, times=99, value={"status": 500, "hang": 0.3}.get(kind))
    if kind == "hang":  # a short limit from the request on that is not answered
        limit = lambda: monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)  # noqa: E731
        hub.before = _once(f"HEAD .*{new}/adapter", limit, hub)
    with pytest.raises((BundleError, HubError)) as caught:
        pull("me/x", folder=tmp_path / "mine", overwrite=True)
    assert ("adapter.safetensors: its sha256 differs" in str(caught.value)) == (kind == "wrong")
    assert _weight(tmp_path / "mine") == 0.5
    assert _weight(pull("me/x", local_files_only=True).folder) == 0.5
    assert _incomplete(tmp_path) == []
    hub.faults.clear()
    assert _weight(pull("me/x").folder) == 2.0


def test_wrong_bytes_in_the_cache_are_replaced(hub: Hub, publish: Publish) -> None:
    commit = publish(0.5)
    blob = (pull("me/x").folder / "adapter.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    assert _weight(pull("me/x").folder) == 0.5
    blob.write_bytes(data)
    assert _weight(pull("me/x", revision=commit).folder) == 0.5


def test_a_manifest_that_was_damaged_on_the_way_is_not_kept(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    hub.fail("GET .*/inlay.json", "body", value=b"x" * len(hub.repos["me/x"].files["inlay.json"]))
    with pytest.raises(BundleError, match=r"inlay.json: expected a JSON object"):
        pull("me/x")
    assert _weight(pull("me/x").folder) == 0.5


def test_a_false_commit_is_refused(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    publish(0.5)
    hub.fail("GET .*/revision/", "body", value=b'{"id": "me/x", "sha": "../../evil", "siblings": []}')
    with pytest.raises(HubError, match=r"expected a commit of 40 hex digits"):
        pull("me/x")
    assert not (tmp_path / "evil").exists()


def test_an_answer_that_makes_no_sense_is_told(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    hub.fail("GET .*/revision/", "body", value=b"<html>log in to the hotel</html>")
    with pytest.raises(HubError, match=r"not an answer of a hub; check HF_ENDPOINT") as caught:
        pull("me/x")
    assert caught.value.problem == "server"


def test_a_file_of_another_size_is_refused_before_it_is_fetched(hub: Hub, publish: Publish) -> None:
    publish(0.5, **{"adapter.safetensors": b"x" * 5000})
    with pytest.raises(BundleError, match=r"adapter.safetensors: .* bytes as listed in inlay.json, the hub has 5000"):
        pull("me/x")
    assert hub.requests("GET .*adapter.safetensors") == []


def test_a_huge_manifest_is_refused_before_it_is_fetched(hub: Hub, publish: Publish) -> None:
    publish(0.5, **{"inlay.json": b" " * (2 << 20)})
    with pytest.raises(BundleError, match=r"inlay.json: expected at most 1048576 bytes of JSON, got 2097152"):
        pull("me/x")
    assert hub.requests("/resolve/") == []


def test_more_bytes_than_the_budget_are_refused_before_they_are_fetched(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    with pytest.raises(BundleError, match=r"inlay.json: files: expected at most 10 bytes of files"):
        pull("me/x", max_bytes=10)
    assert hub.requests("GET .*safetensors") == []


def test_a_repository_without_a_manifest_is_no_bundle(hub: Hub, publish: Publish) -> None:
    publish(0.5, **{"inlay.json": None})
    with pytest.raises(BundleError, match=r"me/x: not a bundle: the repository holds no inlay.json"):
        pull("me/x")


def test_a_listed_file_that_is_not_in_the_repository_is_named(hub: Hub, publish: Publish) -> None:
    publish(0.5, **{"adapter.safetensors": None})
    with pytest.raises(BundleError, match=r"adapter.safetensors: is listed in inlay.json but missing"):
        pull("me/x")


# --- what the user is told -------------------------------------------------------------------------------------------

SECRET = "hf_" + "s3cret" * 6
CASES = {
    "no repository": ("me/none", {}, "missing", "no such repository"),
    "private, no token": ("me/x", {"token": False}, "token", "log in with `hf auth login`"),
    "private, another's token": ("me/x", {"token": "hf_reader"}, "missing", "the token has no access"),
    "gated": ("me/gated", {"token": "hf_reader"}, "gated", "ask for access on its page"),
    "no revision": ("me/x", {"revision": "nowhere"}, "revision", "no such branch, tag or commit"),
    "bad token": ("me/x", {"token": SECRET}, "token", "the token is not valid"),
    "no network": ("me/x", {"endpoint": "http://127.0.0.1:9"}, "network", "cannot be reached"),
    "not in the cache": ("me/x", {"local_files_only": True}, "offline", "not in the cache"),
}


@pytest.mark.parametrize(("source", "options", "problem", "message"), CASES.values(), ids=CASES)
def test_every_trouble_has_its_own_message(
    hub: Hub, publish: Publish, source: str, options: Any, problem: str, message: str, no_pauses: NoPauses
) -> None:
    no_pauses()
    publish(0.5)
    publish(0.5, repo_id="me/gated")
    hub.repos["me/x"].private = True
    hub.repos["me/gated"].gated = True
    with pytest.raises(HubError) as caught:
        pull(source, **options)
    assert caught.value.problem == problem
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_token_is_never_shown(hub: Hub, publish: Publish, caplog: Any, capsys: Any) -> None:

    publish(0.5)
    hub.fail("GET .*/revision/", "status", value=403)
    hub.fail("GET .*/revision/", "body", value=f"<html>{SECRET}</html>".encode())
    hub.fail("GET .*/revision/", "header", times=9, value={"X-Error-Message": f"who is {SECRET}?"})
    for _ in range(3):
        with pytest.raises(HubError) as caught:
            pull("me/x", token=SECRET)
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        assert SECRET not in shown + "".join(capsys.readouterr())


def test_a_revision_that_leaves_its_folder_is_refused(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    for revision in ("../../x", "/etc/passwd", "a//b", "a\0b", "x" * 300):
        with pytest.raises(HubError, match=r"expected a branch"):
            pull("me/x", revision=revision)
    assert hub.seen == []


@pytest.mark.parametrize("source", ["hf://", "hf://x", "hf://a/b/c", "hf://../x", "hf://a--b/c", "hf://a/b c"])
def test_what_is_no_repository_is_told(source: str) -> None:
    with pytest.raises(HubError, match=r"expected a repository as owner/name"):
        pull(source)


# --- more than one at a time, and other hosts -------------------------------------------------------------------------


def test_weights_come_from_another_host_without_the_token(hub: Hub, publish: Publish) -> None:

    hub.lfs = re.compile(r"\.safetensors$")
    publish(0.5)
    hub.repos["me/x"].private = True
    pull("me/x", token="hf_owner")
    assert {(seen.host, seen.token) for seen in hub.requests("GET /cdn/")} == {("localhost", None)}


def test_a_wrong_etag_changes_nothing(hub: Hub, publish: Publish) -> None:
    publish(0.5)
    hub.fail("HEAD .*adapter", "etag", value="0" * 40)
    assert _weight(pull("me/x").folder) == 0.5


def test_two_pulls_into_one_folder_take_turns(hub: Hub, publish: Publish, tmp_path: Path) -> None:
    publish(0.5, ref="one")
    publish(2.0, ref="two")
    failed: list[BaseException] = []

    def work(revision: str) -> None:
        try:
            for _ in range(5):
                pull("me/x", revision=revision, folder=tmp_path / "mine", overwrite=True)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(revision,)) for revision in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert _weight(tmp_path / "mine") in (0.5, 2.0)
