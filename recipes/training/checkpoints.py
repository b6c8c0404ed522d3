"""Checkpoints of a stage: written atomically, the one before kept, and a damaged one replaced by it.

Lightning writes a checkpoint into the system's temporary folder and moves it to its place. Where that folder is on
another file system (containers, tmpfs, NFS), the move is a copy onto the stage's only checkpoint, and a full disk or a
killed process leaves a part of it. Here the temporary file lies beside the target and is renamed once it is on disk.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from inlay.hub.errors import InlayError

__all__ = ["AtomicCheckpoints", "CheckpointError", "intact", "part_of", "previous_of"]


class CheckpointError(InlayError):
    """No checkpoint of a stage can be read."""


def part_of(path: Path) -> Path:
    """The file that is being written; it may be left by a crash, and is never read."""
    return path.with_name(f"{path.name}.part")


def previous_of(path: Path) -> Path:
    """The checkpoint before the last one."""
    return path.with_name(f"{path.name}.previous")


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the target, flushes to disk, keeps the last checkpoint as the previous one, and renames."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: no room, no permission; the checkpoints that were there are as they were.
        """
        target = Path(path)
        part, last = part_of(target), previous_of(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                _save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            # A crash between the two leaves the previous one alone, which is then resumed from. Weights alone, as in
            # best.ckpt, are not resumed from.
            if target.exists() and "optimizer_states" in checkpoint:
                target.replace(last)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _flush(target.parent)


class _Recorded:
    """A file that keeps an error of the disk, which torch turns into a RuntimeError without its number."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()


def _save(checkpoint: dict[str, Any], file: BinaryIO) -> None:
    recorded = _Recorded(file)
    target: Any = recorded  # torch calls only these two methods
    try:
        torch.save(checkpoint, target)
    except RuntimeError as error:
        if recorded.error is not None:
            raise recorded.error from error
        raise


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def intact(path: Path, show: Callable[[str], None]) -> Path | None:
    """The checkpoint to resume from: the last one, or the one before where the last is damaged or missing.

    Args:
        path: of the last checkpoint.
        show: prints which checkpoint is damaged, and which one is used.

    Returns:
        None where the stage has no checkpoint yet.

    Raises:
        CheckpointError: there are checkpoints, and none of them can be read.
    """
    problems: list[str] = []
    for candidate in (path, previous_of(path)):
        if not candidate.exists():
            continue
        if (problem := _problem(candidate)) is None:
            if candidate != path:
                why = "; ".join(problems) or f"{path} is missing: the run was stopped while it was written"
                show(f"checkpoint: {why}; going on from the one before, {candidate}")
            return candidate
        problems.append(f"{candidate} cannot be used ({problem})")
    if problems:
        raise CheckpointError(
            f"resume: {'; '.join(problems)}; expected an intact checkpoint of this stage. Remove {path.parent}, and "
            "--resume true begins the stage anew"
        )
    return None


def _problem(path: Path) -> str | None:
    """The fault of a checkpoint, in a few words; None for an intact one."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums
            if (bad := archive.testzip()) is not None:
                return f"wrong checksum of {bad}"
        held = torch.load(path, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile:
        return f"not a whole file: {path.stat().st_size:,} bytes without the index that stands at its end"
    except pickle.UnpicklingError:
        return "it holds objects other than numbers and tensors"
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, NotImplementedError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    missing = {"state_dict", "optimizer_states", "global_step"} - set(held if isinstance(held, dict) else ())
    return f"it has no {', '.join(sorted(missing))}" if missing else None
