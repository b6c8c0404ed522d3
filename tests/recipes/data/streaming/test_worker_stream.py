"""Streams of workers before and after a start."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest

from inlay.recipes.data.streaming import worker_stream
from inlay.recipes.data.streaming.worker_stream import WorkerStream


def test_a_process_without_workers_reads_one_stream() -> None:
    found = WorkerStream.of_this_worker(1, 2, start=3, batch_size=4)
    assert found == WorkerStream(worker=0, workers=1, stream=1, streams=2, done=12)


@pytest.mark.parametrize(("start", "expected"), [(0, [(4, 0), (5, 0)]), (3, [(5, 5), (4, 10)])])
def test_the_first_worker_continues_with_the_next_batch(
    monkeypatch: pytest.MonkeyPatch, start: int, expected: list[tuple[int, int]]
) -> None:
    """Two workers in the third process: three batches are two of its first stream and one of its second."""
    found = []
    for number in range(2):
        monkeypatch.setattr(worker_stream, "get_worker_info", partial(SimpleNamespace, id=number, num_workers=2))
        read = WorkerStream.of_this_worker(2, 3, start=start, batch_size=5)
        assert (read.worker, read.workers, read.streams) == (number, 2, 6)
        found.append((read.stream, read.done))
    assert found == expected
