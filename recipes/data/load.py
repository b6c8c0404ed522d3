"""Reads all data files of a run before training starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from inlay.recipes.data.formats.read import read_rows
from inlay.recipes.data.formats.vqa.questions import read_vqa
from inlay.recipes.data.rows.checks.media_check import MediaCheck
from inlay.recipes.data.rows.columns import parse_columns
from inlay.recipes.data.rows.media_values import MediaRules
from inlay.recipes.data.rows.offenders import Offender, Offenders, settle
from inlay.recipes.data.rows.remote import url_cache
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.names import hub_name
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.data.streaming.rows_source import row_source
from inlay.recipes.data.streaming.shards import Shards, Source
from inlay.recipes.data.streaming.webdataset import shard_files
from inlay.recipes.settings.errors import SettingsError
from inlay.recipes.settings.run import DataSettings

__all__ = ["load_data", "media_rules", "sets_of", "shards_of", "streams_of"]

_BESIDE = (
    "without --data.images, media are looked for in the folder of each data file; if they are in another folder, give "
    "it with --data.images"
)


def load_data(
    data: DataSettings,
    *,
    show: Callable[[str], object] | None = None,
    report: Path | None = None,
    left_out: list[Offender] | None = None,
) -> dict[str, Sequence[Sample]]:
    """Samples by file: ``align``, ``train``, ``test``, ``align_test``, ``mix 1``, ..., ``make_test 1``, ...

    Training files yield one sample for each caption; held-out files yield one sample for each image, with all its
    captions. Shards and streamed rows are not read here and have no entry, see :func:`streams_of`.

    Args:
        data: the data settings, with a training file.
        show: prints a line for the user: progress, rows that are read in another form than written, rows left out.
        report: file for the list of invalid rows, written if they stop the run; None to write none.
        left_out: the rows that are left out are appended to this list.

    Raises:
        DataError: an invalid file, row or medium; all invalid rows and media are reported together.
        SettingsError: contradictory file settings.
    """
    data.check_drawn()
    if data.train is None:
        raise SettingsError("data: a training file is needed (--data.train)")
    align = None if shards_of(data) or data.streaming else data.align or data.train
    files: dict[str, tuple[Path | None, Path | None, Literal["image", "caption"]]] = {
        "align": (align, None if data.align else data.annotations, "caption"),
        "train": (None if data.streaming else data.train, data.annotations, "caption"),
        "test": (data.test, data.test_annotations, "image"),
        "align_test": (data.align_test, None, "image"),
        "pairs": (data.pairs, None, "caption"),
        "pairs_test": (data.pairs_test, None, "caption"),
        **{f"mix {number}": (path, None, "caption") for number, path in enumerate(data.mix, 1)},
        **{f"make_test {number}": (path, None, "image") for number, path in enumerate(data.make_test, 1)},
    }
    held: dict[tuple[Path, Path | None, str], Sequence[Sample]] = {}
    columns = parse_columns(data.columns or "")
    found: list[Offender] = []
    for path, notes, per in files.values():
        if path is not None and (path, notes, per) not in held:
            images = data.images or _folder_of(path)
            check = MediaCheck(images, links=data.links, show=show)
            offenders = Offenders(collect=True, media=check, show=show)
            rules = media_rules(data, images)
            rows = (
                read_rows(
                    path,
                    rules,
                    per=per,
                    embeddings=data.embeddings,
                    format_name=data.format,
                    columns=columns,
                    offenders=offenders,
                )
                if notes is None
                else read_vqa(path, notes, rules, answers=data.answers, pattern=data.pattern, offenders=offenders)
            )
            held[path, notes, per] = rows if isinstance(rows, Samples) else check.usable(rows, offenders)
            found += offenders.found
            if show is not None:
                for line in offenders.lines():
                    show(f"{path}: {line}")
    gone = data.images is None and any(offender.reason.endswith(": no such file") for offender in found)
    settle(found, data.invalid, report=report, show=show, advice=_BESIDE if gone else "")
    if left_out is not None:
        left_out += found
    if empty := [str(path) for (path, _, _), rows in held.items() if not rows]:
        raise DataError(f"{', '.join(empty)}: no usable row is left")
    return {kind: held[path, notes, per] for kind, (path, notes, per) in files.items() if path is not None}


def _folder_of(path: Path) -> Path:
    """The folder of the media of a data file; a data set of the Hub has its media in its rows."""
    return Path() if hub_name(path) is not None else path if path.is_dir() else path.parent


def media_rules(data: DataSettings, images: Path) -> MediaRules:
    """The rules for the media of a folder."""
    urls = url_cache() if data.allow_urls else None
    return MediaRules(images.absolute(), links=data.links, urls=urls, downscale=data.downscale)


def shards_of(data: DataSettings) -> tuple[Path, ...]:
    """The webdataset shards of the captions; empty if the captions are in another file.

    Raises:
        DataError: a shard does not exist.
    """
    if data.align is None or data.align.suffix.lower() != ".tar":
        return ()
    return shard_files(data.align)


def streams_of(data: DataSettings) -> dict[str, Source]:
    """The data sets that are read as a stream: ``align`` from shards, and all training sets with ``streaming``.

    Of two files, ``all`` is no stream, because their sizes are not known.

    Raises:
        DataError: a file does not exist, or its first rows cannot be read.
    """
    found: dict[str, Source] = {}
    if files := shards_of(data):
        found["align"] = Shards(files=files, shuffle=data.shuffle, broken=data.invalid)
    if data.streaming and data.train is not None:
        own = {"train": data.train} | ({} if files else {"align": data.align or data.train})
        for kind, path in own.items():
            rules = media_rules(data, data.images or (Path() if hub_name(path) is not None else path.parent))
            found[kind] = row_source(
                path,
                rules,
                format_name=data.format,
                columns=data.columns,
                shuffle=data.shuffle,
                broken=data.invalid,
                too_long=data.too_long,
            )
        if data.align is None:
            found["all"] = found["train"]
    return found


def sets_of(kind: str, samples: Mapping[str, Sequence[Sample]]) -> list[Sequence[Sample]]:
    """The data sets of a stage: one, or all training sets for ``all``."""
    if kind != "all":
        return [samples[kind]]
    names = ["align", "train", *(name for name in samples if name.startswith("mix "))]
    different = {id(samples[name]): samples[name] for name in names}
    return list(different.values())
