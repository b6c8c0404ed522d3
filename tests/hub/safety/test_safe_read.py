from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from inlay.hub import Bundle, BundleError

pytestmark = pytest.mark.timeout(20)  # a reader that waits for a pipe must fail, not hang


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: expected the folder of a bundle: no such file"):
        Bundle.read(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=r"file: expected the folder of a bundle: not a directory"):
        Bundle.read(tmp_path / "file")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_an_impossible_path_is_a_bundle_error(path: str) -> None:
    with pytest.raises(BundleError, match=r"expected the folder of a bundle"):
        Bundle.read(path)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"not a bundle: it holds no inlay.json"):
        Bundle.read(tmp_path)


EXTRA = [
    "setup.py",
    "requirements.txt",
    "sitecustomize.py",
    "None.py",
    "x.pth",
    "model.bin",
    "evil\x1b[31m",
    "README.MD",
]


@pytest.mark.parametrize("name", [*EXTRA, "INLAY.json", "lora/README.md", "lora/evil.py", "__init__.py"])
def test_a_file_that_the_format_does_not_know_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("raise SystemExit")
    with pytest.raises(BundleError, match=r"not a file of a bundle") as caught:
        Bundle.read(folder)
    assert ascii(name) in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_name_that_differs_in_case_only_is_told(folder: Path) -> None:
    (folder / "Inlay.JSON").write_text("{}")
    with pytest.raises(BundleError, match=r"upper and lower case count"):
        Bundle.read(folder)


@pytest.mark.parametrize("name", [".git/config", ".gitattributes", ".cache/huggingface/x.lock", ".DS_Store"])
def test_what_git_and_the_hub_leave_is_ignored(folder: Path, bundle: Bundle, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x")
    assert Bundle.read(folder).manifest.name == bundle.manifest.name


def test_a_card_edited_by_hand_is_no_error(folder: Path, bundle: Bundle) -> None:
    (folder / "README.md").write_text("my own words")
    assert Bundle.read(folder).manifest.name == bundle.manifest.name


def test_a_hostile_card_is_never_opened(folder: Path, bundle: Bundle) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    assert Bundle.read(folder).manifest.name == bundle.manifest.name


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    place = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is limited to about 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(place)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "fifo": _fifo,
    "socket": _socket,
    "folder": Path.mkdir,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "passwd": lambda path: path.symlink_to("/etc/passwd"),
    "relative": lambda path: path.symlink_to("../" * 20 + "etc/passwd"),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("name", ["inlay.json", "adapter.safetensors", "lora/adapter_config.json"])
@pytest.mark.parametrize("make", SPECIAL.values(), ids=SPECIAL)
def test_what_is_not_a_file_of_the_folder_is_refused_at_once(
    folder: Path, name: str, make: Callable[[Path], object]
) -> None:
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(BundleError) as caught:
        Bundle.read(folder)
    assert caught.value.file == name


def test_a_link_to_the_same_bytes_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "adapter.safetensors", tmp_path / "outside")
    (folder / "adapter.safetensors").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match=r"adapter.safetensors: a symbolic link that leaves the folder"):
        Bundle.read(folder)


def test_a_linked_lora_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "lora", tmp_path / "lora")
    (folder / "lora").symlink_to(tmp_path / "lora")
    with pytest.raises(BundleError, match=r"lora: expected a real folder"):
        Bundle.read(folder)


def test_the_folder_itself_may_be_a_link(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(folder)
    assert Bundle.read(tmp_path / "latest").manifest.name == bundle.manifest.name


@pytest.fixture
def snapshot(folder: Path, tmp_path: Path) -> Path:
    """The bundle as huggingface_hub keeps it: links from snapshots/<commit>/ to blobs/."""
    repo = tmp_path / "models--me--llava"
    commit = repo / "snapshots" / ("a" * 40)
    (repo / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(item for item in folder.rglob("*") if item.is_file())):
        shutil.copy(path, repo / "blobs" / f"{number:040d}")
        link = commit / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(repo / "blobs" / f"{number:040d}", link.parent))
    return commit


def test_a_snapshot_of_the_hub_cache_is_read(snapshot: Path, bundle: Bundle) -> None:
    read = Bundle.read(snapshot)
    assert read.manifest.name == bundle.manifest.name
    assert read.lora is not None


def _share(snapshot: Path, name: str) -> None:
    """Move a blob to a place in the cache's own ``blobs/``, as huggingface_hub does with what came through Xet."""
    blob = (snapshot / "adapter.safetensors").resolve()
    shared = blob.parents[2] / "blobs" / name[:2] / name
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))


def test_a_blob_shared_by_the_whole_cache_is_read(snapshot: Path, bundle: Bundle) -> None:
    _share(snapshot, "ab" * 32)
    assert Bundle.read(snapshot).manifest.name == bundle.manifest.name


def test_a_shared_blob_of_another_name_is_refused(snapshot: Path) -> None:
    _share(snapshot, "ab" * 31 + "..")
    with pytest.raises(BundleError, match=r"leaves the folder"):
        Bundle.read(snapshot)


def test_a_link_of_the_cache_to_anywhere_but_blobs_is_refused(snapshot: Path) -> None:
    blobs = snapshot.parent.parent / "blobs"
    (blobs.parent / "refs").mkdir()
    link = snapshot / "adapter.safetensors"
    shutil.copy(link, blobs.parent / "refs" / "copy")
    link.unlink()
    link.symlink_to("../../refs/copy")
    with pytest.raises(BundleError, match=r"leaves the folder"):
        Bundle.read(snapshot)


def test_a_blob_that_is_itself_a_link_out_is_refused(snapshot: Path) -> None:
    blob = (snapshot / "inlay.json").resolve()
    blob.unlink()
    blob.symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match=r"leaves the folder"):
        Bundle.read(snapshot)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(folder: Path) -> None:
    (folder / "adapter.safetensors").chmod(0)
    with pytest.raises(BundleError, match=r"adapter.safetensors: .*permission denied"):
        Bundle.read(folder)


MANIFESTS = {
    "empty": b"",
    "utf-16": '{"format": "inlay"}'.encode("utf-16"),
    "mark": b"\xef\xbb\xbf{}",
    "list": b"[]",
    "two megabytes": b'{"a": "' + b"x" * (2 << 20) + b'"}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("data", MANIFESTS.values(), ids=MANIFESTS)
def test_a_hostile_manifest_is_refused(folder: Path, data: bytes) -> None:
    (folder / "inlay.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"^inlay.json: "):
        Bundle.read(folder)


def test_a_sparse_manifest_is_refused_before_it_is_read(folder: Path) -> None:
    os.truncate(folder / "inlay.json", 1 << 40)
    with pytest.raises(BundleError, match=r"inlay.json: expected at most 1048576 bytes"):
        Bundle.read(folder)


def test_reading_writes_nothing(folder: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.parent.rglob("*"))
    Bundle.read(folder)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.parent.rglob("*")) == before


def test_no_handle_stays_open(folder: Path) -> None:
    (folder / "adapter.safetensors").unlink()
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        with pytest.raises(BundleError):
            Bundle.read(folder)
    assert len(os.listdir("/dev/fd")) == before
