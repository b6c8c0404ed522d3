"""Which files stand behind a source, and what makes them count as changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from inlay.recipes.cache import sources
from inlay.recipes.cache.sources import Files, files_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "inner/more.json"):
        (folder / name).write_text(name)
    return folder


def files(folder: Any, **facts: Any) -> Files:
    return Files({"image": folder}, {}, facts)


def test_every_file_of_a_folder_counts(model: Path) -> None:
    found = files_of(model)
    assert found is not None
    assert [Path(file[0]).name for file in found] == ["config.json", "more.json", "model.safetensors"]
    assert [file[1] for file in found] == [11, 15, 17]
    assert files_of(model / "config.json") == found[:1]


def test_a_change_shows_though_size_and_time_of_writing_are_put_back(model: Path) -> None:
    before = files(model).digest()
    path = model / "model.safetensors"
    stat = path.stat()
    time.sleep(0.02)  # longer than a tick of the clock
    path.write_text("model.safetensorz")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert files(model).digest() not in (None, before)


def test_new_and_lost_files_and_other_facts_show(model: Path) -> None:
    found = {files(model).digest(), files(model, layer=-2).digest(), files(model, layer=-1).digest()}
    assert files(model, layer=-2).digest(layer=-1) in found
    (model / "new.json").write_text("x")
    found.add(files(model).digest())
    (model / "new.json").unlink()
    (model / "config.json").unlink()
    found.add(files(model).digest())
    assert len(found) == 5
    assert None not in found


def test_what_cannot_be_looked_at_has_no_digest(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files(model.with_name("nothing")).digest() is None
    monkeypatch.setattr(sources, "_MOST", 2)
    assert files(model).digest() is None


def test_files_settle_after_a_moment(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = max(path.stat().st_ctime for path in model.rglob("*"))
    monkeypatch.setattr(sources.time, "time", lambda: newest + 0.5)
    assert files(model).digest() is not None
    assert files(model).digest(settled=True) is None
    monkeypatch.setattr(sources.time, "time", lambda: newest + 10)
    assert files(model).digest(settled=True) == files(model).digest()


def test_a_hub_id_is_the_commit_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "hub" / "models--someone--clip"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "refs", repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "blobs" / "abc").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    found = files_of("someone/clip")
    assert found == files_of(snapshot)
    assert found is not None
    assert found == files_of("someone/clip", COMMIT)
    assert files_of("someone/clip", "another") is None
    assert files_of("someone/other") is None
