"""All data files of a run, read before anything is trained; without files, the miniature's world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from inlay.recipes.data.read import read_samples
from inlay.recipes.data.sample import Sample
from inlay.recipes.data.vqa import read_vqa
from inlay.recipes.miniature.build import build
from inlay.recipes.settings import DataSettings, SettingsError

__all__ = ["load_data", "sets_of"]


def load_data(data: DataSettings, folder: Path, seed: int) -> dict[str, list[Sample]]:
    """Samples by file: ``align``, ``train``, ``test``, ``align_test``, ``mix 1``, ...

    Args:
        data: which files; without a training file the miniature's are used.
        folder: where the miniature's data are written, unless they are there already.
        seed: of the miniature's data.

    Raises:
        DataError: a file, an item or a medium that cannot be used.
        SettingsError: files that do not go together.
    """
    chosen = _miniature(data, folder, seed) if data.train is None else data
    files = {
        "align": (chosen.align or chosen.train, None if chosen.align else chosen.annotations),
        "train": (chosen.train, chosen.annotations),
        "test": (chosen.test, chosen.test_annotations),
        "align_test": (chosen.align_test, None),
        **{f"mix {number}": (path, None) for number, path in enumerate(chosen.mix, 1)},
    }
    held: dict[tuple[Path, Path | None], list[Sample]] = {}
    for path, notes in files.values():
        if path is not None and (path, notes) not in held:
            held[path, notes] = _read(path, notes, chosen.images or path.parent)
    return {kind: held[path, notes] for kind, (path, notes) in files.items() if path is not None}


def sets_of(kind: str, samples: Mapping[str, list[Sample]]) -> list[list[Sample]]:
    """The data sets of a stage: one, or for ``all`` every one that is there to learn from."""
    if kind != "all":
        return [samples[kind]]
    names = ["align", "train", *(name for name in samples if name.startswith("mix "))]
    different = {id(samples[name]): samples[name] for name in names}
    return list(different.values())


def _miniature(data: DataSettings, folder: Path, seed: int) -> DataSettings:
    if data.annotations or data.test_annotations or data.mix:
        raise SettingsError("data: annotations and mix go with files of your own; give --data.train too")
    if not (folder / "test.json").exists():
        build(folder, seed)
    return replace(
        data,
        align=folder / "align.json",
        train=folder / "train.json",
        test=folder / "test.json",
        align_test=folder / "align_test.json",
        images=folder / "images",
    )


def _read(path: Path, annotations: Path | None, images: Path) -> list[Sample]:
    return read_samples(path, images) if annotations is None else read_vqa(path, annotations, images)
