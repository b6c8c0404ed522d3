"""Read a data file of any format we know."""

from __future__ import annotations

from pathlib import Path

from inlay.recipes.data.jsonl import read_messages_jsonl
from inlay.recipes.data.llava import read_llava
from inlay.recipes.data.sample import DataError, Sample, check_media

__all__ = ["read_samples"]

_READERS = {".json": read_llava, ".jsonl": read_messages_jsonl}


def read_samples(path: str | Path, images: str | Path | None = None) -> list[Sample]:
    """Read samples and see that their images are there.

    Args:
        path: ``.json`` is LLaVA's format, ``.jsonl`` one conversation a line.
        images: the folder that images are in; None when the data are text only.

    Raises:
        DataError: an unknown suffix, anything wrong inside the file, or images that are missing.

    Example:
        >>> read_samples("train.csv")
        Traceback (most recent call last):
        inlay.recipes.data.sample.DataError: train.csv: expected a file that ends in .json or .jsonl
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a file that ends in {' or '.join(_READERS)}")
    root = Path(images) if images is not None else None
    samples = reader(path, root)
    if root is not None:
        check_media(samples, root)
    return samples
