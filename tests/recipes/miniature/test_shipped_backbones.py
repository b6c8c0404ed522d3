from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from inlay.recipes.miniature import MiniatureError, backbone_path, shipped_backbones


def test_no_large_file_is_shipped_twice() -> None:
    owners: dict[str, list[Path]] = defaultdict(list)
    for file in shipped_backbones.FOLDER.rglob("*"):
        if file.is_file() and file.stat().st_size > 50_000:
            owners[hashlib.sha256(file.read_bytes()).hexdigest()].append(file)
    assert len(owners) > 15
    assert {digest: files for digest, files in owners.items() if len(files) > 1} == {}


def test_the_video_generator_has_the_autoencoder_of_stable_diffusion() -> None:
    video, drawings = backbone_path("video"), backbone_path("sd")
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        assert (video / "vae" / name).read_bytes() == (drawings / "vae" / name).read_bytes()


def test_all_other_files_of_the_video_generator_are_there() -> None:
    stored = shipped_backbones.FOLDER / "video"
    files = [file.relative_to(stored) for file in stored.rglob("*") if file.is_file()]
    assert Path("unet/diffusion_pytorch_model.safetensors") in files
    assert all((backbone_path("video") / file).read_bytes() == (stored / file).read_bytes() for file in files)


def test_a_folder_is_assembled_once_a_process() -> None:
    assert backbone_path("video") == backbone_path("video")


def test_the_assembled_folder_is_deleted_with_its_process() -> None:
    code = "from inlay.recipes.miniature import backbone_path; print(backbone_path('video'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    folder = Path(run.stdout.strip())
    assert folder.name.startswith("inlay-video-")
    assert not folder.exists()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
def test_a_forked_process_leaves_the_assembled_folder_alone() -> None:
    code = (
        "import os, sys\n"
        "from inlay.recipes.miniature import backbone_path\n"
        "folder = backbone_path('video')\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print((folder / 'vae' / 'config.json').is_file())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"


def test_files_are_copied_where_links_are_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    (tmp_path / "one").write_text("content", encoding="utf-8")
    shipped_backbones._link(str(tmp_path / "one"), str(tmp_path / "two"))
    assert (tmp_path / "two").read_text(encoding="utf-8") == "content"
    assert not (tmp_path / "two").is_symlink()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(MiniatureError, match=r"expected one of clip, llama, .* got 'vicuna'"):
        backbone_path("vicuna")
