"""Checks all rows of a table in one pass, or finds the result of an earlier process, and gives lazy samples."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inlay.hub.safety.text import shown
from inlay.recipes.data.rows.offenders import Offenders
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.base import Table
from inlay.recipes.data.rows.tables.facts import Facts, Recorder
from inlay.recipes.data.rows.tables.samples import Read, Samples, samples_of
from inlay.recipes.data.rows.tables.store import key_of, load_facts, save_facts

__all__ = ["KEPT_SECONDS", "Repeated", "read_table"]

Repeated = Literal["raise", "number"]
"""Whether a repeated id is an error, or is numbered: ``7#2``."""

KEPT_SECONDS = 0.5
"""Facts that took less time are not kept: checking the rows again is as fast."""
_BATCH = 256


def read_table(table: Table, read: Read, offenders: Offenders, repeated: Repeated = "raise") -> Samples:
    """Check that every row is a sample, in one pass over the file.

    Args:
        table: the rows.
        read: converts a row.
        offenders: collects invalid rows, and checks the media of each row if it has a check of media.
        repeated: the rule for repeated ids.

    Raises:
        DataError: an invalid row, if `offenders` does not collect them, or a file that cannot be read.
    """
    media, offenders.noting = offenders.media, True
    key = key_of(table, read, repeated, None if media is None else media.rules)
    held = None if key is None else load_facts(key)
    if held is not None:
        table.restore(held[0])
        facts = held[1]
        offenders.merge(facts.notes)
        offenders.show = None  # all are known already
    else:
        began = time.monotonic()
        with _without_collector():
            facts = _checked(table, read, offenders, repeated)
        if key is not None and (time.monotonic() - began < KEPT_SECONDS or not save_facts(key, table.index, facts)):
            key = None
    offenders.noting = False
    for where, reason in facts.offenders:
        offenders.add(where, DataError(reason))
    return Samples(table, read, facts, key=key)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Without Python's cyclic garbage collector, which would take half of the time; samples have no cycles."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _checked(table: Table, read: Read, offenders: Offenders, repeated: Repeated) -> Facts:
    found: list[tuple[int, str, str]] = []
    recorder, ids = Recorder(), array("q")
    waiting: list[tuple[int, Sample]] = []
    damaged: list[int] = []

    def check_media() -> None:
        """Check the media of the last rows."""
        if offenders.media is not None:
            for (place, sample), told in zip(
                waiting, offenders.media.problems([sample for _, sample in waiting]), strict=True
            ):
                if told:
                    damaged.append(place)
                    found.append((recorder.rows[place], sample.origin, f"{sample.origin}: {told}"))
                    offenders.tell(found[-1][2])
            for note in offenders.media.notes:
                offenders.note(*note)
            offenders.media.notes.clear()
        waiting.clear()

    notes, offenders.notes = offenders.notes, {}
    for row, (where, value) in enumerate(table.stream()):
        try:
            if isinstance(value, DataError):
                raise value
            samples = samples_of(read(value, where=where))
        except DataError as error:
            if not offenders.collect:
                if repeated == "raise":
                    _raise_repeated(table, read, recorder.rows, ids)
                raise
            found.append((row, where, str(error)))
            offenders.tell(str(error))
            continue
        for piece, sample in enumerate(samples):
            waiting.append((len(ids), sample))
            ids.append(hash(sample.id))
            recorder.add(row, sample, piece)
        if len(waiting) >= _BATCH:
            check_media()
    check_media()
    keep = np.ones(len(ids), bool)
    keep[damaged] = False
    firsts, repeats = _repeats(np.frombuffer(ids, np.int64))
    if repeated == "raise":
        rows = recorder.rows
        for place in np.flatnonzero(repeats).tolist():
            where, first = table.where(rows[place]), table.where(rows[firsts[place]])
            (fields,) = table.take([rows[place]])
            found.append((rows[place], where, _repeated(read, fields, where, first)))
            keep[place] = False
    own, offenders.notes = offenders.notes, notes
    offenders.merge(own)
    # Several samples of a row may have one fault.
    listed = list(dict.fromkeys((where, reason) for _, where, reason in sorted(found, key=lambda item: item[0])))
    folders = {} if offenders.media is None else dict(offenders.media.folders)
    return recorder.facts(keep, repeats if repeated == "number" else None, offenders=listed, notes=own, folders=folders)


def _repeated(read: Read, fields: dict[str, Any], where: str, first: str) -> str:
    """The error of a row with the id of an earlier one."""
    field = "question_id" if "question_id" in fields and "id" not in fields else "id"
    return f"{where}, {field}: {shown(samples_of(read(fields, where=where))[0].id)} is also the id of {first}"


def _raise_repeated(table: Table, read: Read, rows: Sequence[int], ids: array[int]) -> None:
    """Raise the error of the first repeated id, if there is one among the rows before an invalid one."""
    firsts, repeats = _repeats(np.frombuffer(ids, np.int64))
    if repeats.any():
        place = int(np.flatnonzero(repeats)[0])
        begun = list(islice(table.stream(), rows[place] + 1))
        where, fields = begun[-1]
        if isinstance(fields, dict):
            raise DataError(_repeated(read, fields, where, begun[rows[firsts[place]]][0]))


def _repeats(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each id, the place of its first occurrence, and which occurrence it is: 0 for the first, 2, 3, ...

    The ids are hashes of 64 bits; of a million different ones, two are equal with a probability of 3e-8.
    """
    order: NDArray[Any] = np.argsort(ids, kind="stable")
    begins = np.ones(len(ids), bool)
    begins[1:] = ids[order[1:]] != ids[order[:-1]]
    starts = np.flatnonzero(begins)
    group = np.cumsum(begins) - 1
    firsts, count = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    firsts[order] = order[starts[group]]
    count[order] = np.arange(len(ids)) - starts[group] + 1
    return firsts, np.where(count == 1, 0, count)
