"""Digests of a run's data and frozen models, which must not change when the run is resumed.

A data set is compared by its file (in memory: by the texts of its samples) and by the sizes of its media; nothing is
decoded. Media that differ only in modification time may have been copied, so a line names them, and the run continues.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from inlay.adapters.conversation.messages import MadePart, Message, Part, TextPart
from inlay.adapters.media.sources import EncodedMedium
from inlay.hub.safety.strict_json import read_object
from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.sample import Sample, conversations_of
from inlay.recipes.data.rows.tables.samples import Samples
from inlay.recipes.runs.files import write_whole
from inlay.recipes.settings.errors import SettingsError

__all__ = ["check_inputs", "digest_of"]

Digest: TypeAlias = dict[str, Any]
"""``samples``: their number. ``rows`` (of a table) or ``texts``, ``sizes``, ``times``: SHA-256 digests."""

_MAX_BYTES = 1 << 20
_NAMED = 3
_DIFFERS = {"texts": "the texts of its samples differ", "rows": "the file differs"}


def check_inputs(
    path: Path,
    samples: Mapping[str, Sequence[Sample]],
    streams: Mapping[str, Sequence[Path]] | None = None,
    models: Mapping[str, str] | None = None,
    *,
    resume: bool,
    show: Callable[[str], object],
) -> None:
    """Write the digests of a new run, or compare those of a resumed run.

    Args:
        path: the file of the digests.
        samples: data set -> its samples.
        streams: data set that is read as a stream -> its files on this machine.
        models: port of the backbone -> digest of its weights.
        resume: whether the run is resumed. For a run of an earlier version without digests, they are written now.
        show: prints a line about media with other modification times and the same sizes.

    Raises:
        SettingsError: data or a model has changed; the text names it.
    """
    known: dict[int, Digest] = {}  # the same samples may be used for several data sets
    now: dict[str, Any] = {
        name: {"file": _file(rows), **known.setdefault(id(rows), digest_of(rows))} for name, rows in samples.items()
    }
    for name, files in (streams or {}).items():
        if files:
            now[name] = {"file": files[0].name, **_of_files(files), "samples": len(files), "texts": ""}
    if resume and path.exists():
        began = read_object(path.read_bytes(), path.name, max_bytes=_MAX_BYTES)
        _compare_models(began.get("models", {}), models or {})
        _compare(began.get("data", {}), now, samples, path, show)
    else:
        write_whole(path, json.dumps({"data": now, "models": dict(models or {})}, indent=1) + "\n")


def digest_of(rows: Sequence[Sample]) -> Digest:
    """The digest of one data set; that of a table reads the file once, and converts no row."""
    if not isinstance(rows, Samples) or rows.facts.media is None:
        return _of_texts(rows)
    found = hashlib.sha256(rows.table.digest().encode())
    found.update(rows.column("row").tobytes())
    return {"samples": len(rows), "rows": found.hexdigest(), **_of_files(rows.facts.media)}


def _of_texts(rows: Sequence[Sample]) -> Digest:
    texts = hashlib.sha256()
    for row in rows:
        turns = _turns(row.messages)
        plain: list[Any] = [row.id, turns, row.kinds, row.answers, row.description]
        if row.rejected or row.desirable is not None:  # other samples keep the digest of earlier versions
            plain += [[_turns(row.rejected), _turns(row.similar), row.desirable]]
        texts.update(json.dumps(plain).encode())
    return {"samples": len(rows), "texts": texts.hexdigest(), **_of_files(_media(rows))}


def _turns(messages: Sequence[Message]) -> list[Any]:
    return [(message.role, [_plain(part) for part in message.content]) for message in messages]


def _plain(part: Part) -> list[str | None]:
    if isinstance(part, TextPart):
        return [part.text]
    made = [part.caption, str(part.embedding)] if isinstance(part, MadePart) else []
    named = _is_path(part.source) or isinstance(part.source, EncodedMedium)
    return [part.modality, str(part.source) if named else None, *made]


def _is_path(source: Any) -> bool:
    return isinstance(source, (str, Path))


def _media(rows: Sequence[Sample]) -> Iterable[Path]:
    """The media files of the samples, each once, in their order."""
    found: dict[Any, None] = {}
    for row in rows:
        for message in chain.from_iterable(conversations_of(row)):
            for part in message.content:
                if not isinstance(part, TextPart):
                    found[part.source] = None
                    found[getattr(part, "embedding", None)] = None
    return (Path(source) for source in found if _is_path(source))


def _of_files(paths: Iterable[Path]) -> Digest:
    sizes, times = hashlib.sha256(), hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:  # reported by the check of the data
            continue
        sizes.update(f"{status.st_size} ".encode())
        times.update(f"{status.st_mtime_ns} ".encode())
    return {"sizes": sizes.hexdigest(), "times": times.hexdigest()}


def _file(rows: Sequence[Sample]) -> str:
    """The name of the data file, from the origin of its first sample."""
    if isinstance(rows, Samples):
        return rows.table.name
    return rows[0].origin.partition(", ")[0] if rows else ""


def _compare_models(began: Mapping[str, Any], now: Mapping[str, str]) -> None:
    for port, weights in now.items():
        if began.get(port, weights) != weights:
            raise SettingsError(
                f"backbone: the model of the port {port} has other weights than when the run began. A resumed run "
                "needs the same frozen models: restore them, or start a new run with --overwrite true"
            )


def _compare(
    began: Mapping[str, Any],
    now: Mapping[str, Any],
    samples: Mapping[str, Sequence[Sample]],
    path: Path,
    show: Callable[[str], object],
) -> None:
    since = path.stat().st_mtime_ns
    for name, own in now.items():
        before = began.get(name)
        where = f"data: {own['file'] or name}"
        if not isinstance(before, dict) or before.get("samples") != own["samples"]:
            count = before.get("samples") if isinstance(before, dict) else 0
            raise SettingsError(_changed(where, f"{shown(count)} samples then, {own['samples']} now"))
        if "rows" in own and "rows" not in before:  # written by an earlier version
            own = {"file": own["file"], **_of_texts(samples[name])}
        kind = "rows" if "rows" in own else "texts"
        if before.get(kind) != own[kind]:
            raise SettingsError(_changed(where, _DIFFERS[kind]))
        if before.get("times") == own["times"]:
            continue
        newer = ", ".join(_newer(samples.get(name, ()), since)) or "none newer than the run"
        if before.get("sizes") != own["sizes"]:
            raise SettingsError(_changed(where, f"media have another size ({newer})"))
        show(f"{where}: media have other modification times and the same sizes ({newer}); the run continues with them")


def _changed(where: str, how: str) -> str:
    return (
        f"{where} has changed since the run began: {how}. A resumed run needs the same data: restore them, or start a "
        "new run with --overwrite true"
    )


def _newer(rows: Sequence[Sample], since: int) -> Iterator[str]:
    """Names of media that were written after the run began."""
    newer = (path for path in _media(rows) if path.exists() and path.stat().st_mtime_ns > since)
    for _, path in zip(range(_NAMED), newer, strict=False):
        yield shown(path.name)
