"""Opens a table by its path or name: JSON, JSON lines, Parquet, CSV, Arrow, folders, and data sets of the Hub.

``datasets`` (https://github.com/huggingface/datasets) reads all but JSON: its JSON reader needs rows with equal fields,
and takes 1.5 times the size of the file on disk again.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, lru_cache
from json import JSONDecoder
from pathlib import Path
from typing import Any

from inlay.hub.remote.reachable import ADVICE, cache_if_unreachable
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import DataError
from inlay.recipes.data.rows.tables.arrow_table import ArrowTable
from inlay.recipes.data.rows.tables.base import Table, state_of
from inlay.recipes.data.rows.tables.json_table import JsonTable
from inlay.recipes.data.rows.tables.names import ARROW, hub_name
from inlay.recipes.data.rows.tables.store import cache_root

__all__ = ["datasets_library", "head_of", "hub_data", "json_lines", "open_table", "reading"]

_HEAD = 1 << 20


def open_table(path: Path) -> Table:
    """Open a table; JSON is not read yet.

    Args:
        path: a file, a folder that ``datasets`` saved, a folder of images, or the name of a data set of the Hub.

    Raises:
        DataError: no such file or data set, another kind of file, or one that cannot be read.
    """
    name = path.name.lower()
    if (hub := hub_name(path)) is not None:
        return _hub_table(hub)
    if path.is_dir():
        return _folder_table(path)
    if name.endswith(ARROW):
        return _file_table(path, tuple(state_of(path)))
    file = _unpacked(path) if name.endswith(".gz") else path
    return JsonTable(file, name=str(path), lines=json_lines(file))


def head_of(path: Path) -> str:
    """The first MiB of a text file, without white space in front.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_HEAD).decode("utf-8-sig", errors="ignore").lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def json_lines(path: Path) -> bool:
    """Whether a file has one JSON object a line: its name ends in ``.jsonl``, or a second object follows the first.

    POPE's ``coco_pope_random.json`` is such a file.

    Raises:
        DataError: the file cannot be read.
    """
    if path.suffix.lower() == ".jsonl":
        return True
    lines = head_of(path).split("\n", 1)
    if len(lines) < 2 or not lines[0].startswith("{") or not lines[1].lstrip().startswith("{"):
        return False
    with suppress(ValueError, RecursionError):
        return isinstance(JSONDecoder().decode(lines[0]), dict)
    return False


def _unpacked(path: Path) -> Path:
    """A gzip file, unpacked into the cache so that its rows have positions; into the temporary folder if that fails."""
    state = "-".join(map(str, state_of(path)))
    suffix = "".join(path.suffixes[-2:-1]).lower()
    for root in (cache_root(), _temporary()):
        file = root / f"unpacked-{state}{suffix}"
        if file.is_file():
            return file
        try:
            root.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=root, prefix=".new-")
        except OSError:
            continue
        try:
            with os.fdopen(handle, "wb") as target, gzip.open(path) as source:
                shutil.copyfileobj(source, target)
            os.replace(name, file)
        except (OSError, EOFError) as error:
            os.unlink(name)
            raise DataError(f"{path}: cannot be unpacked: {error}") from None
        return file
    raise DataError(f"{path}: cannot be unpacked: neither {cache_root()} nor the temporary folder can be written")


@cache
def _temporary() -> Path:
    """A folder of this process."""
    return Path(tempfile.mkdtemp(prefix="inlay-"))


@lru_cache(8)  # A file is opened for its first row, and again for all rows.
def _file_table(path: Path, state: tuple[int, ...]) -> ArrowTable:
    datasets = datasets_library()
    kind = path.suffix.lower()
    if kind == ".arrow":
        return ArrowTable(_read(str(path), lambda _: datasets.Dataset.from_file(str(path))), str(path), list(state))
    builder, options = ("csv", {"sep": "\t"} if kind == ".tsv" else {}) if kind != ".parquet" else ("parquet", {})

    def load(folder: str | None) -> Any:
        return datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=folder, **options)

    return ArrowTable(_undecoded(_read(str(path), load)), str(path), list(state))


def _folder_table(path: Path) -> ArrowTable:
    datasets = datasets_library()
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(place.name for place in path.iterdir() if place.is_dir()))
        raise DataError(f"{path}: expected one split, got a folder of several; name one of them: {splits}")
    if (path / "state.json").is_file():
        data = _read(str(path), lambda _: datasets.load_from_disk(str(path)))
        files = [state_of(Path(file["filename"])) for file in data.cache_files]
        return ArrowTable(_undecoded(data), str(path), files)

    def load(folder: str | None) -> Any:
        return datasets.load_dataset("imagefolder", data_dir=str(path), split="train", cache_dir=folder)

    data = _read(str(path), load)
    return ArrowTable(_undecoded(data), str(path), [data._fingerprint])


@lru_cache(8)
def _hub_table(name: str) -> ArrowTable:
    source, _, split = name.partition(":")

    def load(folder: str | None) -> Any:
        return hub_data(source, split=split or "train", cache_dir=folder)

    data = _read(name, load)
    return ArrowTable(_undecoded(data), name, [data._fingerprint])


def hub_data(source: str, **options: Any) -> Any:
    """A data set of the Hub; without network, from the cache of ``datasets`` or the files in the Hub's cache."""
    load = datasets_library().load_dataset
    try:
        return load(source, **options)
    except ConnectionError:
        if (kept := _snapshot(source)) is None:
            raise
        return load(str(kept), **options)


def _snapshot(source: str) -> Path | None:
    """The files of a data set in the Hub's cache, as `hf download` leaves them; None unless all have arrived."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, repo_type="dataset", local_files_only=True))
    except (HfHubHTTPError, LocalEntryNotFoundError):
        return None
    return None if any((folder.parents[1] / "blobs").glob("*.incomplete")) else folder


def datasets_library() -> Any:
    """The library, without its progress bars; imported here because that takes a second."""
    import datasets

    datasets.disable_progress_bars()
    return datasets


def _undecoded(data: Any) -> Any:
    """The data set with media as bytes and paths."""
    for field, kind in data.features.items():
        if getattr(kind, "decode", None) is True:
            data = data.cast_column(field, type(kind)(decode=False))
    return data.with_format(None)


def _read(name: str, load: Callable[[str | None], Any]) -> Any:
    """Load a data set; its Arrow files are put into a temporary folder if the cache cannot be written.

    Raises:
        DataError: with the reason, and what to do.
    """
    with ExitStack() as stack:
        if not os.path.exists(name):
            stack.enter_context(cache_if_unreachable())
        stack.enter_context(reading(name))
        try:
            return load(None)
        except PermissionError:
            return load(str(_temporary()))


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns the errors of ``datasets`` into one that says what is wrong.

    Raises:
        DataError: with the reason, and what to do.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # datasets raises errors of many libraries
        raise DataError(f"{name}: {_reason(name, error)}") from error


def _reason(name: str, error: Exception) -> str:
    """What is wrong with a data set, in a line."""
    if type(error).__name__ == "DatasetGenerationError" and isinstance(error.__cause__, Exception):
        error = error.__cause__
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text, source = str(error).strip().splitlines(), name.partition(":")[0]
    first = shown(text[0] if text else type(error).__name__, 300)
    if "gated" in str(error).lower() or "GatedRepoError" in kinds:
        return (
            f"the data set is gated: accept its terms at https://huggingface.co/datasets/{source}, then: hf auth login"
        )
    if kinds & {"OfflineModeIsEnabled", "ConnectionError", "ConnectTimeout", "LocalEntryNotFoundError"}:
        return f"the Hub cannot be reached, and the data set is not in the cache: {first}; {ADVICE}"
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError"}:
        return f"no such file or folder here, and no such data set on the Hub that this account may read: {first}"
    if Path(name).is_dir() and "corresponds to no data" in first:
        return "expected a folder of pictures, or one that `datasets` saved: it has neither; name the file of the rows"
    if name.lower().endswith(".parquet") and _arrow(error):
        return f"cannot be read: {_damaged(name)}: {first}; copy or download it again"
    return f"cannot be read: {first}"


def _damaged(name: str) -> str:
    """Which part of a Parquet file is damaged; its row groups are read one by one."""
    from pyarrow.parquet import ParquetFile

    begin = 0
    with suppress(Exception), ParquetFile(name) as file:
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            try:
                file.read_row_group(group)
            except Exception:
                return f"row group {group} (rows {begin} to {end - 1}) is damaged"
            begin = end
    return "the file is damaged"


def _arrow(error: Exception) -> bool:
    """Whether Arrow could not read a file that the system could."""
    from pyarrow import ArrowException

    return isinstance(error, ArrowException) or (isinstance(error, OSError) and error.errno is None)
