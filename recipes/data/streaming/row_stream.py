"""An endless stream of samples from rows that need not fit on the disk, with a shuffled buffer and exact resuming.

Files are distributed to processes and their loading workers; with fewer files than workers, each reads all files and
takes every n-th row. The rows are shuffled in blocks, so that the order is a pure function of files, seed, processes
and workers. The positions of the blocks are written to a file: a resumed run goes to its block at once, and without
that file it reads the earlier rows again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from inlay.recipes.data.rows.offenders import Invalid
from inlay.recipes.data.rows.sample import DataError, Sample
from inlay.recipes.data.rows.tables.base import Row
from inlay.recipes.data.streaming.row_parts import RowPart
from inlay.recipes.data.streaming.worker_stream import WorkerStream
from inlay.recipes.distributed.ranks import rank, world

__all__ = ["Converter", "LeftOut", "RowStream"]

Converter = Callable[[Sequence[Row]], "Iterator[list[Sample] | DataError]"]
"""Rows -> for each row its samples, or the reason why it cannot be used."""
_MAX_WORKERS = 1024


class LeftOut(DataError):
    """A row that is left out even if invalid rows stop the run, such as one that is too long."""


class _Mark(NamedTuple):
    """A position in a stream, at the beginning of a block."""

    given: int
    """Samples that the stream gave before."""
    turn: int
    """The pass over the files."""
    block: int
    """The number of the block in its pass."""
    part: int
    """The place of the file in the order of its pass."""
    rows: int
    """Rows that were read in the pass."""
    state: dict[str, Any] | None
    """The state of that file; None for its beginning."""


class RowStream(IterableDataset[Sample]):
    """Samples of the parts, pass after pass.

    Args:
        parts: the files.
        convert: rows -> samples.
        seed: seed of the order.
        buffer: rows in a block, which are shuffled together; the files have a new order in each pass. 0 for the order
            of the files.
        broken: ``raise`` stops at the first invalid row, ``skip`` leaves it out and counts it in :attr:`skipped`.
        batch_size: batch size of the loader.
        start: batches that each process has taken already.
        positions: folder for the positions of the blocks; None to write none.
    """

    def __init__(
        self,
        parts: Sequence[RowPart],
        convert: Converter,
        *,
        seed: int = 0,
        buffer: int = 1000,
        broken: Invalid = "raise",
        batch_size: int = 1,
        start: int = 0,
        positions: Path | None = None,
    ) -> None:
        super().__init__()
        self.parts, self.convert, self.seed, self.buffer, self.broken = tuple(parts), convert, seed, buffer, broken
        self.batch_size, self.start, self.positions = batch_size, start, positions
        self.rank, self.world = rank(), world()
        counts: Any = torch.zeros(_MAX_WORKERS, dtype=torch.int64)
        self._skipped: Tensor = counts.share_memory_()

    @property
    def skipped(self) -> dict[str, int]:
        """The number of rows that this process and its workers left out."""
        return {"row": int(self._skipped.sum())}

    def __iter__(self) -> Iterator[Sample]:
        number, _, stream, streams, done = WorkerStream.of_this_worker(
            self.rank, self.world, start=self.start, batch_size=self.batch_size
        )
        file = None if self.positions is None else self.positions / f"{stream}-of-{streams}.jsonl"
        mark = _latest(file, done)
        given = mark.given
        for again in count(mark.turn):
            before = given
            for block in self._blocks(again, stream, streams, mark, file):
                samples = self._samples(block, number)
                if self.buffer:
                    random.Random(f"{self.seed} {again} {stream} {block.mark.block}").shuffle(samples)
                for sample in samples:
                    given += 1
                    if given > done:
                        yield sample
                block.mark_next(given)
            if given == before and not mark.rows:
                raise DataError(f"{self.parts[0].name}: no usable row in a whole pass over {len(self.parts)} file(s)")
            mark = _Mark(given, again + 1, 0, 0, 0, None)

    def _samples(self, block: _Block, worker: int) -> list[Sample]:
        samples: list[Sample] = []
        for found in self.convert(block.rows):
            if not isinstance(found, DataError):
                samples += found
            elif self.broken == "raise" and not isinstance(found, LeftOut):
                raise found
            else:
                self._skipped[worker % _MAX_WORKERS] += 1
        return samples

    def _blocks(self, turn: int, stream: int, streams: int, mark: _Mark, file: Path | None) -> Iterator[_Block]:
        """The blocks of a pass for one stream, from a mark on."""
        parts = list(self.parts)
        if self.buffer:
            random.Random(f"{self.seed} {turn}").shuffle(parts)
        shared = len(parts) < streams
        own = parts if shared else parts[stream::streams]
        block, rows, state = _Block(mark, file), mark.rows, mark.state
        for place, part in enumerate(own[mark.part :], mark.part):
            for row in part.stream(state):
                rows += 1
                if not shared or (rows - 1) % streams == stream:
                    block.rows.append(row)
                if len(block.rows) == max(1, self.buffer):
                    yield block
                    following = _Mark(block.given, turn, block.mark.block + 1, place, rows, part.state())
                    block = _Block(following, file)
                    block.write()
            state = None
        if block.rows:
            yield block


class _Block:
    """Rows that are shuffled together, and the position of the first one."""

    def __init__(self, mark: _Mark, file: Path | None) -> None:
        self.mark, self.file, self.given = mark, file, mark.given
        self.rows: list[Row] = []

    def mark_next(self, given: int) -> None:
        """Take the number of samples that the stream gave up to the end of this block."""
        self.given = given

    def write(self) -> None:
        """Append the position to the file; a folder that cannot be written costs only time when a run is resumed."""
        if self.file is not None:
            with suppress(OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with self.file.open("a", encoding="utf-8") as target:
                    target.write(json.dumps(self.mark) + "\n")


def _latest(file: Path | None, done: int) -> _Mark:
    """The last written position that is not behind `done` samples; the beginning without one."""
    found = _Mark(0, 0, 0, 0, 0, None)
    if file is None or not done:
        return found
    with suppress(OSError), file.open(encoding="utf-8") as lines:
        for line in lines:
            with suppress(ValueError, TypeError):  # a line that was cut off when a process was killed
                mark = _Mark(*json.loads(line))
                if found.given <= mark.given <= done:
                    found = mark
    return found
