"""The engine: a queue, and one thread that answers its jobs batch by batch."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

from inlay.recipes.serve.engine.batch import answer
from inlay.recipes.serve.engine.job import Failed, Job
from inlay.recipes.serve.engine.models import Group, Models
from inlay.recipes.serve.limits import Limits

__all__ = ["Engine"]


class Engine:
    """Answers jobs in the order in which they came; jobs behind the first of a batch join it if they can.

    A batch ends with its longest answer. Answers are sent as soon as they are complete, and answers to clients that
    have left end at the next token.

    Args:
        models: the served adapters.
        limits: of batches.
        observe: called with the number of answers of each batch.
        coming: whether requests are being read, for which a batch waits ``limits.window_ms``.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits,
        *,
        observe: Callable[[int], None] | None = None,
        coming: Callable[[], bool] = lambda: False,
    ) -> None:
        self.models, self.limits, self.observe, self.coming = models, limits, observe, coming
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="inlay-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Drop waiting jobs, and wait for the running batch."""
        with self._changed:
            self._stopped = True
            for job in self._jobs:
                job.cancel()
            self._changed.notify_all()
        self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        """Whether jobs are answered."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Put a job into the queue."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            group, jobs = self._next()
            if group is None:
                return
            if self.observe is not None:
                self.observe(sum(job.sampling.n for job in jobs))
            try:
                later = answer(self.models, group, jobs)
            except Exception as error:  # the next batch may be answered
                traceback.print_exc(file=sys.stderr)
                for job in jobs:
                    job.emit(Failed(error))
            else:
                with self._changed:
                    self._jobs.extendleft(reversed(later))

    def _next(self) -> tuple[Group | None, list[Job]]:
        """The jobs of the next batch; no group after :meth:`stop`."""
        with self._changed:
            while True:
                waited = False
                while not self._jobs and not self._stopped:
                    waited = True
                    self._changed.wait()
                until = time.monotonic() + self.limits.window_ms / 1000
                while waited and self.coming() and self._rows() < self.limits.batch:
                    if (left := until - time.monotonic()) <= 0:
                        break
                    self._changed.wait(left)
                if self._stopped:
                    return None, []
                if jobs := self._taken():
                    return self._group(jobs[0]), jobs

    def _rows(self) -> int:
        return sum(job.sampling.n for job in self._jobs)

    def _group(self, job: Job) -> Group:
        return self.models.group(job.name, job.sampling.beams)

    def _taken(self) -> list[Job]:
        """The first job and others of its group that fit beside it, in order; beam search has a batch of its own."""
        taken: list[Job] = []
        kept: deque[Job] = deque()
        room = self.limits.batch
        for job in self._jobs:
            if job.cancelled:
                continue
            alone = bool(taken) and job.sampling.beams * taken[0].sampling.beams > 1
            together = not taken or (not alone and self._group(job) == self._group(taken[0]))
            if together and (job.sampling.n <= room or not taken):
                taken.append(job)
                room -= job.sampling.n
            else:
                kept.append(job)
        self._jobs = kept
        return taken
