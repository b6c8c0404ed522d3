"""The frame of an export: files, checks, EXPORT.json, and nothing where something failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from attached import unchanged, with_tokens

from inlay.adapters import export_adapter
from inlay.adapters.export.registry import TARGETS, register_exporter
from inlay.adapters.export.report import Check, Written
from inlay.adapters.export.request import Request
from inlay.adapters.export.target import ExportError, option
from inlay.adapters.language.occupancy import AttachError


@dataclass(frozen=True)
class Options:
    """Of the target below."""

    allowed: float = option(1.0, "the largest difference")


def write(request: Request, folder: Path) -> Written:
    (folder / "name.txt").write_text(request.adapter.name)
    check = Check.within("logits", 0.5, request.options.allowed)
    return Written(checks=(check,), packages=("peft",), notes=("read me",), facts={"rank": 2})


@pytest.fixture(autouse=True)
def target() -> Iterator[None]:
    register_exporter("own", write, "a test", Options)
    yield
    del TARGETS["own"]


@pytest.fixture
def model(backbone_of: Any) -> Iterator[Any]:
    backbone = backbone_of()
    adapter = with_tokens(backbone)
    yield adapter.attach(backbone)
    if adapter.attached:
        adapter.detach()


def test_the_folder_holds_the_files_and_what_was_checked(model: Any, tmp_path: Path) -> None:
    report = export_adapter(model, to="own", output=tmp_path / "out")
    held = json.loads((tmp_path / "out" / "EXPORT.json").read_text())
    assert (tmp_path / "out" / "name.txt").read_text() == "any"
    assert report.folder == tmp_path / "out"
    assert {name: held[name] for name in ("target", "adapter", "system", "options", "notes", "facts")} == {
        "target": "own",
        "adapter": "any",
        "system": "nextgpt",
        "options": {"allowed": 1.0},
        "notes": ["read me"],
        "facts": {"rank": 2},
    }
    assert held["checks"][0]["difference"] == 0.5
    assert {"inlay", "torch", "peft"} <= set(held["versions"])


def test_a_failed_check_leaves_no_folder(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"own: 1 of 1 checks .* failed.*logits: 1 compared, difference 0.5, allowed"):
        export_adapter(model, to="own", output=tmp_path / "out", allowed=0.1)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_the_exporter_runs(model: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="already exists"):
        export_adapter(model, to="own", output=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_detached_model_is_refused(model: Any, tmp_path: Path) -> None:
    model.adapter.detach()
    with pytest.raises(AttachError):
        export_adapter(model, to="own", output=tmp_path / "out")


def test_the_backbone_is_unchanged(backbone_of: Any, tmp_path: Path) -> None:
    backbone = backbone_of()
    with unchanged(backbone):
        adapter = with_tokens(backbone)
        export_adapter(adapter.attach(backbone), to="own", output=tmp_path / "out")
        adapter.detach()
