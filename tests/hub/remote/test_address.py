from __future__ import annotations

from pathlib import Path

import pytest

from inlay.hub import HubError
from inlay.hub.format.files import bundle_folder
from inlay.hub.remote.address import Repository, locate


@pytest.mark.parametrize(
    ("source", "repo_id", "revision"),
    [
        ("me/x", "me/x", "main"),
        ("me/x@v1", "me/x", "v1"),
        ("hf://me/x", "me/x", "main"),
        ("hf://me/x@refs/pr/1", "me/x", "refs/pr/1"),
        ("hf://models/me/x@main", "me/x", "main"),
        ("Some-Org_1/a.b-c", "Some-Org_1/a.b-c", "main"),
    ],
)
def test_what_is_a_repository(source: str, repo_id: str, revision: str) -> None:
    assert locate(source) == Repository(repo_id=repo_id, revision=revision)


@pytest.mark.parametrize(
    "source", ["x", "./me/x", "../x", "/a/b", "a/b/c", "a\\b", "~/x", "a/b/", "a/b ", "-a/b", "a/.b", ""]
)
def test_what_is_a_folder(source: str) -> None:
    assert locate(source) == Path(source)


def test_a_path_object_is_never_a_repository() -> None:
    assert locate(Path("me/x")) == Path("me/x")


def test_what_exists_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me" / "x").mkdir(parents=True)
    assert locate("me/x") == Path("me/x")
    assert locate("hf://me/x") == Repository(repo_id="me/x")


def test_a_name_below_a_local_folder_is_a_misspelt_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert locate("runs/lava") == Path("runs/lava")
    assert locate("hf://runs/lava") == Repository(repo_id="runs/lava")


def test_the_revision_that_is_asked_for_overrules_the_one_in_the_name() -> None:
    assert str(locate("me/x@v1", "v2")) == "me/x@v2"


@pytest.mark.parametrize("revision", ["", "a b", "../x", "a//b", "a/", "-x", "\x1b[31m", "x" * 256])
def test_what_cannot_be_a_revision_is_told_in_plain_text(revision: str) -> None:
    with pytest.raises(HubError, match=r"expected a branch, a tag or a commit") as caught:
        Repository(repo_id="me/x", revision=revision)
    assert str(caught.value).isprintable()


def test_a_run_folder_stands_for_its_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    assert bundle_folder(tmp_path) == tmp_path / "bundle"
    (tmp_path / "inlay.json").write_text("{}")
    assert bundle_folder(tmp_path) == tmp_path
