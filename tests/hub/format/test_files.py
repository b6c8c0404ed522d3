"""The files of a bundle's folder: a folder with other files in it is never replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.hub.errors import BundleError
from inlay.hub.format.files import check_is_bundle


@pytest.mark.parametrize("stranger", [".cache/mine", ".cache/huggingface-notes", "notes.md"])
def test_a_bundle_with_other_files_in_its_folder_is_not_overwritten(tmp_path: Path, stranger: str) -> None:
    (tmp_path / "inlay.json").write_text("{}")
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / ".cache" / "huggingface" / "x.metadata").write_text("a download")
    check_is_bundle(tmp_path)
    (tmp_path / stranger).write_text("mine")
    with pytest.raises(BundleError, match=stranger):
        check_is_bundle(tmp_path)


def test_a_bundle_with_a_link_to_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "inlay.json").write_text("{}")
    (tmp_path / "lora").symlink_to(tmp_path.parent)
    with pytest.raises(BundleError, match="lora"):
        check_is_bundle(tmp_path)
