"""Pushing to a hub: one commit, only the bundle's files, nothing of somebody else's overwritten."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_emulator import Hub, Repo

from inlay.hub import Bundle, BundleError, HubError, pull, push
from inlay.hub.format.files import BUNDLE_NAMES

Make = Callable[..., Bundle]


@pytest.fixture(params=[r"$^", r"\.safetensors$"], ids=["plain", "lfs"])
def either(request: Any, hub: Hub) -> Hub:
    """The hub with files inline, and with weights through LFS."""
    hub.lfs = re.compile(request.param)
    return hub


def test_a_pushed_bundle_comes_back(either: Hub, folder: Path, contents: Any) -> None:
    pushed = push(folder, "me/x")
    assert pushed.changed
    assert pushed.url == f"{either.url}/me/x/commit/{pushed.commit}"
    theirs, ours = contents(pull("me/x").folder), contents(folder)
    assert b'load_model("me/x")' in theirs.pop("README.md")
    assert theirs == {name: data for name, data in ours.items() if name != "README.md"}
    assert len(either.repos["me/x"].commits) == 2  # the Hub's own first one, and ours


def test_nothing_is_sent_again(either: Hub, folder: Path, make_bundle: Make) -> None:
    first = push(folder, "me/x")
    either.seen.clear()
    again = push(folder, "me/x")
    assert (again.commit, again.changed) == (first.commit, False)
    assert either.requests("/commit/|PUT /lfs/") == []
    make_bundle(2.0).write(folder, overwrite=True)
    push(folder, "me/x")
    sent = either.requests("POST .*/commit/")[0].body
    assert b"lora/adapter_config.json" not in sent
    assert b"adapter.safetensors" in sent


PRECIOUS = [
    *(".env", "id_rsa", "token", "notes.ipynb", "checkpoint.ckpt", "optimizer.pt", "pytorch_model.bin", ".netrc"),
    *("lora/adapter_model.bin", "lora/.env", "data/train.json", "a.safetensors"),
]


def test_only_the_files_of_the_manifest_are_sent(either: Hub, folder: Path) -> None:
    for name in PRECIOUS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("PRECIOUS")
    (folder / "home").symlink_to(Path.home())
    pushed = push(folder, "me/x")
    assert set(either.repos["me/x"].files) == BUNDLE_NAMES | {".gitattributes"}
    assert not any(b"PRECIOUS" in seen.body or b"UFJFQ0lPVV" in seen.body for seen in either.seen)
    assert set(pushed.left_out) == {name for name in PRECIOUS if not name.startswith("data")} | {"data", "home"}


def test_a_run_folder_sends_its_bundle(hub: Hub, folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    folder.rename(run / "bundle")
    (run / "config.yaml").write_text("x")
    assert push(run, "me/x").left_out == ()
    assert set(hub.repos["me/x"].files) == BUNDLE_NAMES | {".gitattributes"}


@pytest.mark.parametrize("name", ["adapter.safetensors", "inlay.json", "README.md", "lora/adapter_config.json"])
def test_a_link_out_of_the_folder_is_not_followed(hub: Hub, folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    if name == "README.md":  # not needed: a new one is made
        push(folder, "me/x")
        return
    with pytest.raises(BundleError, match=r"a symbolic link that leaves the folder"):
        push(folder, "me/x")
    assert hub.repos == {}


def test_a_damaged_bundle_is_not_sent(hub: Hub, folder: Path) -> None:
    data = bytearray((folder / "adapter.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "adapter.safetensors").write_bytes(data)
    with pytest.raises(BundleError, match=r"sha256 differs"):
        push(folder, "me/x")
    assert hub.seen == []


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "Ab1" * 12,
        "AKIA" + "A1" * 8,
        "ghp_" + "a1" * 20,
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "sk-" + "a1B2" * 9,
    ],
)
def test_a_secret_in_a_text_stops_the_push(hub: Hub, folder: Path, secret: str) -> None:
    (folder / "README.md").write_text(f"# mine\n\nexport TOKEN={secret}\n")
    with pytest.raises(HubError, match=r"README.md, line 3: looks like a") as caught:
        push(folder, "me/x")
    assert caught.value.problem == "secret"
    assert secret not in str(caught.value)
    assert hub.seen == []


@pytest.mark.parametrize("token", ["correct horse", "s3cret-of-another-form", "hf_short"])
@pytest.mark.parametrize("name", ["README.md", "inlay.json"])
def test_the_token_in_use_is_never_published(
    hub: Hub, bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str, name: str
) -> None:
    """Whatever it looks like, and also where another token is given for this push."""
    if name == "README.md":
        (folder / name).write_text(f"# mine\n\nlog in with {token}\n")
    else:
        layout = bundle.manifest.layout.model_copy(update={"system": f"a chat about {token}"})
        manifest = bundle.manifest.model_copy(update={"layout": layout})
        Bundle(manifest, bundle.tensors, bundle.lora).write(folder, overwrite=True)
    for options in ({"token": token}, {"token": "hf_owner"}):
        monkeypatch.setenv("HF_TOKEN", "hf_owner" if options["token"] == token else token)
        with pytest.raises(HubError, match=rf"{name}, line \d+: is the token in use, so nothing is sent") as caught:
            push(folder, "me/x", **options)
        assert token not in str(caught.value)
    assert hub.seen == []


def test_a_secret_in_the_card_on_the_hub_is_not_published_again(hub: Hub, folder: Path) -> None:
    push(folder, "me/x")
    hub.repos["me/x"].commit(hub.repos["me/x"].files | {"README.md": b"# AKIA" + b"A1" * 8})
    with pytest.raises(HubError, match=r"README.md, line 1: looks like an AWS key"):
        push(folder, "me/x")


# --- what the repository holds ---------------------------------------------------------------------------------------


def test_a_repository_with_something_else_is_kept(hub: Hub, folder: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"x"}
    hub.repos["me/x"] = Repo()
    hub.repos["me/x"].commit(files)
    with pytest.raises(HubError, match=r"it holds something else \('config.json', 'model.safetensors'\)") as caught:
        push(folder, "me/x")
    assert caught.value.problem == "foreign"
    assert hub.repos["me/x"].files == files
    push(folder, "me/x", overwrite=True)
    assert set(hub.repos["me/x"].files) == BUNDLE_NAMES | set(files)


def test_a_repository_with_a_readme_and_a_licence_is_as_good_as_empty(hub: Hub, folder: Path) -> None:
    hub.repos["me/x"] = Repo()
    hub.repos["me/x"].commit({"README.md": b"# soon", "LICENSE": b"MIT", "picture.png": b"x"})
    push(folder, "me/x")
    assert pull("me/x").commit is not None
    assert hub.repos["me/x"].files["LICENSE"] == b"MIT"


@pytest.mark.parametrize("change", [{"name": "another"}, {"system": "blip2"}])
def test_another_adapter_is_kept(
    hub: Hub, folder: Path, bundle: Bundle, tmp_path: Path, change: dict[str, str]
) -> None:
    push(folder, "me/x")
    before = hub.repos["me/x"].files
    other = Bundle(bundle.manifest.model_copy(update=change), bundle.tensors, bundle.lora)
    other.write(tmp_path / "other")
    with pytest.raises(HubError, match=r"it holds another adapter, 'a small adapter' of the system llava"):
        push(tmp_path / "other", "me/x")
    assert hub.repos["me/x"].files == before
    push(tmp_path / "other", "me/x", overwrite=True)
    assert Bundle.read(pull("me/x").folder).manifest.name == other.manifest.name


def test_a_manifest_from_the_future_is_kept(hub: Hub, folder: Path) -> None:
    hub.repos["me/x"] = Repo()
    hub.repos["me/x"].commit({"inlay.json": b'{"format": "inlay", "format_version": 3}'})
    with pytest.raises(HubError, match=r"that this version of inlay cannot read \(.*upgrade inlay"):
        push(folder, "me/x")


def test_files_that_the_new_bundle_lacks_are_deleted_in_the_same_commit(
    hub: Hub, folder: Path, make_bundle: Make
) -> None:
    push(folder, "me/x")
    make_bundle(lora=False).write(folder, overwrite=True)
    push(folder, "me/x")
    assert not any(name.startswith("lora/") for name in hub.repos["me/x"].files)
    assert Bundle.read(pull("me/x").folder).lora is None
    assert len(hub.repos["me/x"].commits) == 3


def test_a_commit_that_somebody_makes_meanwhile_is_not_lost(hub: Hub, folder: Path, make_bundle: Make) -> None:
    push(folder, "me/x")
    theirs = hub.repos["me/x"].files | {"README.md": b"# theirs"}
    make_bundle(2.0).write(folder, overwrite=True)

    def meanwhile(request: str) -> None:
        if "/commit/" in request:
            hub.before = lambda request: None
            hub.repos["me/x"].commit(theirs)

    hub.before = meanwhile
    with pytest.raises(HubError, match=r"the repository has changed meanwhile") as caught:
        push(folder, "me/x")
    assert caught.value.problem == "conflict"
    assert hub.repos["me/x"].files == theirs


@pytest.mark.parametrize("step", ["preupload", "PUT /lfs", "/verify", "POST .*/commit/"])
@pytest.mark.parametrize("kind", ["status", "reset"])
def test_a_push_that_breaks_off_leaves_the_last_commit(
    hub: Hub, folder: Path, make_bundle: Make, step: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.lfs = re.compile(r"\.safetensors$")
    push(folder, "me/x")
    make_bundle(2.0).write(folder, overwrite=True)
    hub.fail(step, kind, times=99, value=500)
    with pytest.raises(HubError) as caught:
        push(folder, "me/x")
    assert caught.value.problem in ("server", "network")
    assert float(Bundle.read(pull("me/x").folder).tensors["inputs.image.linear.weight"][0, 0]) == 0.5
    hub.faults.clear()
    push(folder, "me/x")
    assert float(Bundle.read(pull("me/x").folder).tensors["inputs.image.linear.weight"][0, 0]) == 2.0


def test_a_commit_whose_answer_is_lost_is_made_once(hub: Hub, folder: Path) -> None:
    hub.fail("POST .*/commit/", "lost")
    with pytest.raises(HubError, match=r"the connection broke"):
        push(folder, "me/x")
    assert push(folder, "me/x").changed is False
    assert len(hub.repos["me/x"].commits) == 2


# --- where to --------------------------------------------------------------------------------------------------------


def test_private_repositories(hub: Hub, folder: Path) -> None:
    push(folder, "me/x", private=True)
    assert hub.repos["me/x"].private
    push(folder, "me/x")
    push(folder, "me/public")
    assert not hub.repos["me/public"].private
    with pytest.raises(HubError, match=r"expected a private repository, got a public one, so nothing is sent"):
        push(folder, "me/public", private=True)
    with pytest.raises(HubError, match=r"expected a public repository, got a private one"):
        push(folder, "me/x", private=False)


def test_branches_and_tags(hub: Hub, folder: Path, make_bundle: Make) -> None:
    first = push(folder, "me/x", tag="v1")
    make_bundle(2.0).write(folder, overwrite=True)
    second = push(folder, "me/x", branch="next")
    assert pull("me/x", revision="v1").commit == pull("me/x").commit == first.commit
    assert pull("me/x@next").commit == second.commit
    with pytest.raises(HubError, match=r"me/x@v1: .*the name is taken"):
        push(folder, "me/x", tag="v1")
    push(folder, "me/new", branch="draft")
    assert "inlay.json" not in hub.repos["me/new"].files


def test_a_pull_request_needs_no_right_to_write(hub: Hub, folder: Path, make_bundle: Make) -> None:
    first = push(folder, "me/x")
    make_bundle(2.0).write(folder, overwrite=True)
    pushed = push(folder, "me/x", create_pr=True, token="hf_reader")
    assert pushed.url == f"{hub.url}/me/x/discussions/1"
    assert pull("me/x").commit == first.commit
    assert pull("me/x", revision="refs/pr/1").commit == pushed.commit


@pytest.mark.parametrize(
    ("repo_id", "token", "problem"),
    [
        ("other/x", "hf_owner", "forbidden"),
        ("me/x", False, "token"),
        ("me/x", "hf_wrong_token", "token"),
        ("x", "hf_owner", "address"),
        ("me/x/y", "hf_owner", "address"),
    ],
)
def test_who_may_not_push_is_told_why(hub: Hub, folder: Path, repo_id: str, token: Any, problem: str) -> None:
    with pytest.raises(HubError) as caught:
        push(folder, repo_id, token=token)
    assert caught.value.problem == problem
    assert "hf_wrong_token" not in str(caught.value)


def test_a_pull_request_to_a_branch_is_told(hub: Hub, folder: Path) -> None:
    with pytest.raises(HubError, match=r"a pull request goes to main"):
        push(folder, "me/x", create_pr=True, branch="draft")
    assert hub.seen == []


def test_offline_pushes_nothing(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as caught:
        push(folder, "me/x")
    assert caught.value.problem == "offline"
    assert hub.seen == []


# --- the card --------------------------------------------------------------------------------------------------------


def _card(hub: Hub) -> str:
    return hub.repos["me/x"].files["README.md"].decode()


def test_an_untouched_card_follows_the_bundle(hub: Hub, folder: Path, make_bundle: Make) -> None:
    push(folder, "me/x")
    assert "| lora |" in _card(hub)
    make_bundle(lora=False).write(folder, overwrite=True)
    assert push(folder, "me/x").card == "generated"
    assert "| lora |" not in _card(hub)


def test_a_card_edited_on_the_hub_is_kept(hub: Hub, folder: Path, make_bundle: Make) -> None:
    push(folder, "me/x")
    files = hub.repos["me/x"].files
    edited = files["README.md"].replace(b"## Limitations\n", b"## Limitations\n\nIt has never seen a duck.\n")
    hub.repos["me/x"].commit(files | {"README.md": edited})
    make_bundle(2.0).write(folder, overwrite=True)
    assert push(folder, "me/x").card == "remote"
    assert "never seen a duck" in _card(hub)
    assert push(folder, "me/x", renew_card=True).card == "generated"
    assert "never seen a duck" not in _card(hub)


def test_a_card_edited_in_the_folder_is_sent_and_survives_the_next_save(
    hub: Hub, folder: Path, make_bundle: Make
) -> None:
    push(folder, "me/x")
    (folder / "README.md").write_text("---\nlibrary_name: inlay\n---\n# My own words\n")
    assert push(folder, "me/x").card == "local"
    make_bundle(2.0).write(folder, overwrite=True)
    assert push(folder, "me/x").card == "local"
    assert "My own words" in _card(hub)


def test_a_card_with_front_matter_that_the_hub_refuses_is_told(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("---\na: [\n---\n# Mine\n")
    with pytest.raises(HubError, match=r"README.md: the hub refuses its front matter"):
        push(folder, "me/x")


def test_a_card_without_front_matter_is_sent(hub: Hub, folder: Path, recwarn: Any) -> None:
    (folder / "README.md").write_text("# Mine\n")
    push(folder, "me/x")
    assert _card(hub) == "# Mine\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_card_that_cannot_be_read_is_made_anew(hub: Hub, folder: Path) -> None:
    (folder / "README.md").chmod(0)
    assert push(folder, "me/x").card == "generated"
