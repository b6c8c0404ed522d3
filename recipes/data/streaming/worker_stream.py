"""Which of the streams of an endless data set a loading worker reads, and how far it was read before a start."""

from __future__ import annotations

from typing import NamedTuple

from torch.utils.data import get_worker_info

__all__ = ["WorkerStream"]


class WorkerStream(NamedTuple):
    """One of equally many streams for each process; the workers of a process take one batch each in turn."""

    worker: int
    """The number of the worker in its process."""
    workers: int
    """Workers of each process."""
    stream: int
    """The number of the stream that it reads."""
    streams: int
    """Streams of all processes."""
    done: int
    """Samples of the stream that were taken before."""

    @classmethod
    def of_this_worker(cls, rank: int, world: int, *, start: int, batch_size: int) -> WorkerStream:
        """The stream of the worker, or of the process without workers, that calls this.

        Args:
            rank: number of the process.
            world: number of processes.
            start: batches that each process has taken already.
            batch_size: samples of a batch.
        """
        found = get_worker_info()
        worker, workers = (0, 1) if found is None else (found.id, found.num_workers)
        # The loader always begins with its first worker, which after a start continues the stream of another one.
        turn = (worker + start) % workers
        done = max(0, -(-(start - turn) // workers)) * batch_size
        return cls(worker, workers, rank * workers + turn, world * workers, done)
