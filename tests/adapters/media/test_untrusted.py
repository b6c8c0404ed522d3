"""Which files are opened. Paths, links and URLs: through each reader in ``test_image.py``, ``test_audio.py``, ..."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlay.adapters.media.untrusted import MediaError, opened
from inlay.hub.errors import InlayError


def test_a_file_is_opened_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with opened("a", tmp_path) as (file, name):
        assert (file.read(), name) == (b"abc", str(tmp_path / "a"))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="POSIX")
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/dev"])
def test_devices_and_folders_are_refused(path: str) -> None:
    with pytest.raises(MediaError, match=r"expected a file|cannot be read"), opened(path):
        pass


def test_an_error_of_the_system_while_reading_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(MediaError, match="a: cannot be read: "), opened(tmp_path / "a"):
        raise OSError(5, "Input/output error")


def test_media_errors_are_inlay_errors() -> None:
    assert issubclass(MediaError, InlayError)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b"])
def test_a_text_that_names_no_file_is_refused(path: str, tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MediaError, match="expected a path, got"), opened(path, root):
            pass
