"""Checkpoints of a stage: written atomically, with the previous one as a fallback for a damaged file.

Lightning writes a checkpoint into the system's temporary folder and moves it. If that folder is on another file system
(containers, tmpfs, NFS), the move copies onto the stage's only checkpoint, and a full disk or a killed process leaves
it incomplete. Here the temporary file is in the target's folder and is renamed once it is on disk.
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
from inlay.hub.safety.atomic import flush_folder

__all__ = ["AtomicCheckpoints", "CheckpointError", "intact", "part_of", "previous_of"]


class CheckpointError(InlayError):
    """A stage has checkpoints, but none can be read."""


def part_of(path: Path) -> Path:
    """The incomplete file during writing; it may remain after a crash, and is never read."""
    return path.with_name(f"{path.name}.part")


def previous_of(path: Path) -> Path:
    """The checkpoint before the last one."""
    return path.with_name(f"{path.name}.previous")


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a temporary file, flushes it to disk, keeps the last checkpoint as the previous one, and renames."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: disk full or no permission; existing checkpoints are unchanged.
        """
        target = Path(path)
        part, last = part_of(target), previous_of(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                _save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            # After a crash between the two, the run resumes from the previous one. best.ckpt has only weights, and is
            # never resumed from.
            if target.exists() and "optimizer_states" in checkpoint:
                target.replace(last)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        flush_folder(target.parent)


class _Recorded:
    """A file that records its OSError, which torch replaces by a RuntimeError without errno."""

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
    target: Any = recorded  # torch calls only write and flush
    try:
        torch.save(checkpoint, target)
    except RuntimeError as error:
        if recorded.error is not None:
            raise recorded.error from error
        raise


def intact(path: Path, show: Callable[[str], None]) -> Path | None:
    """The checkpoint to resume from: the last one, or the previous one if the last is damaged or missing.

    Args:
        path: the last checkpoint.
        show: prints which checkpoint is damaged, and which one is used.

    Returns:
        The path; None if the stage has no checkpoint.

    Raises:
        CheckpointError: there are checkpoints, but none can be read.
    """
    problems: list[str] = []
    for candidate in (path, previous_of(path)):
        if not candidate.exists():
            continue
        if (problem := _problem(candidate)) is None:
            if candidate != path:
                why = "; ".join(problems) or f"{path} is missing: the run stopped while writing it"
                show(f"checkpoint: {why}; resuming from the previous one, {candidate}")
            return candidate
        problems.append(f"{candidate} cannot be used ({problem})")
    if problems:
        raise CheckpointError(
            f"resume: {'; '.join(problems)}; expected an intact checkpoint of this stage. Remove {path.parent} to "
            "restart the stage with --resume true"
        )
    return None


def _problem(path: Path) -> str | None:
    """A short description of a checkpoint's damage; None if it is intact."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not verify checksums
            if (bad := archive.testzip()) is not None:
                return f"wrong checksum of {bad}"
        held = torch.load(path, map_location="cpu", weights_only=True)
    except zipfile.BadZipFile:
        return f"incomplete file: {path.stat().st_size:,} bytes without the zip index at the end"
    except pickle.UnpicklingError:
        return "it contains objects other than numbers and tensors"
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, NotImplementedError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    missing = {"state_dict", "optimizer_states", "global_step"} - set(held if isinstance(held, dict) else ())
    return f"it has no {', '.join(sorted(missing))}" if missing else None
