"""
The queue before a model: what many clients ask for at once is run in few batches, each for all sizes in it.

A request is a `Job` of one or more items. A single thread takes the jobs that wait and runs a batch of their items as
soon as the one before is done, so that nothing waits on purpose. It knows no HTTP and no family.

- Admission counts tokens: a job that would make more wait than the limit, or would itself wait until it is late, is
  refused at once, unless nothing waits.
- Jobs of few items go first, but every fourth batch belongs to the oldest long job; a long job is run in pieces, so
  that neither starves the other. While short jobs come, a piece takes little longer than one of them.
- A batch holds items of about one length, for padding is work too; and only such as may share a pass.
- A job that is cancelled or late is dropped before its next batch.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anysize.core.errors import AnysizeError, CheckpointError, lacks_memory

SHORT = 4
"""Items up to which a job goes first."""
TURN = 4
"""Every so many batches, the oldest long job goes first."""
PADDED, PASS = 1.2, 0.005
"""How many times its own tokens a batch may be long with padding; and the seconds that a pass costs whatever is in it,
for which it may be longer in any case."""
USED = 0.4
"""The part of a job's time that the jobs before it and its own pass may take, as fast as things go of late."""
PIECE, PIECE_TIMES, RECENT = 0.02, 1.5, 60.0
"""What a batch of a long job takes at most, if a short one came in the last `RECENT` seconds: so many seconds, or so
many times what a short one takes."""


class Limits(NamedTuple):
    """What bounds a queue."""

    batch_tokens: int = 16384
    """Tokens of a batch, padding included; an item that alone has more runs alone."""
    batch_items: int = 64
    queue_tokens: int = 8 * 16384
    """Tokens that may wait."""


class FullError(Exception):
    """The queue is full; after `seconds` there should be room."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the queue is full; try again in {seconds:.0f} s")
        self.seconds = seconds


class LateError(Exception):
    """The time that a job had is over, and it was not run to its end."""


class ClosedError(Exception):
    """The queue takes no more jobs: the server is about to end."""


@dataclass(eq=False)
class Job:
    """Items to run, each of which is asked for in one `how` (a size) and has so many tokens."""

    items: Sequence[Any]
    how: Sequence[Any]
    tokens: Sequence[int]
    key: Hashable = None
    """Jobs of one key may share a batch."""
    deadline: float = float("inf")
    """When it is late, by `time.monotonic`."""
    result: Future[list[Any]] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    started: float | None = None
    """When its first batch began."""
    ran: float = 0.0
    """Seconds of the batches that it was part of."""
    largest: int = 0
    """Items of the largest of these batches."""

    def __post_init__(self) -> None:
        self.left = sorted(range(len(self.items)), key=lambda row: -self.tokens[row])
        self.outputs: list[Any] = [None] * len(self.items)
        self.missing = len(self.items)
        self.waiting = sum(self.tokens)
        """Tokens that are not run yet."""

    @property
    def short(self) -> bool:
        """Whether it goes first."""
        return len(self.items) <= SHORT

    def take(self, rows: Sequence[int]) -> None:
        """Rows that wait no longer."""
        taken = set(rows)
        self.left = [row for row in self.left if row not in taken]
        self.waiting -= sum(self.tokens[row] for row in rows)

    def fail(self, error: BaseException) -> None:
        """End it with an error, if nobody has ended it."""
        self.left, self.waiting = [], 0
        _told(self.result.set_exception, error)


class Batch(NamedTuple):
    """Rows of jobs that run together."""

    rows: list[tuple[Job, int]]
    tokens: int
    padded: int
    seconds: float = 0.0


class Queue:
    """
    Runs jobs by ``run(key, items, how)``, which gives an output for each item.

    `done` is told of each batch after it ran, `failed` of each error that is no fault of what was given.
    """

    def __init__(
        self,
        run: Callable[[Any, list[Any], list[Any]], Sequence[Any]],
        limits: Limits | None = None,
        *,
        done: Callable[[Batch], None] = lambda batch: None,
        failed: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self._run, self.limits, self._done, self._failed = run, limits or Limits(), done, failed
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._closed, self._turn = False, 0
        self._speed, self._short = 5000.0, PIECE
        """Tokens a second of late, and the seconds that a short job takes alone; guesses until there was one."""
        self._last_short = float("-inf")
        self.failures = 0
        """Batches in a row that failed by no fault of what was given."""
        self.beat = time.monotonic()
        """When the thread last took a batch or found none."""
        self._thread = threading.Thread(target=self._work, name="anysize-queue", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Tokens that wait."""
        with self._changed:
            return sum(job.waiting for job in self._jobs)

    def submit(self, job: Job) -> Future[list[Any]]:
        """Take a job; its outputs come as the result. Raises `FullError` or `ClosedError`; `LateError` comes later."""
        with self._changed:
            if self._closed:
                raise ClosedError
            waiting = sum(one.waiting for one in self._jobs)
            before = sum(one.waiting for one in self._jobs if one.short) if job.short else waiting
            late = before + job.waiting > USED * self._speed * (job.deadline - job.arrived)
            if waiting and (late or waiting + job.waiting > self.limits.queue_tokens):
                raise FullError(max(1.0, (before if late else waiting) / self._speed))
            if not job.left:
                _told(job.result.set_result, [])
                return job.result
            self._jobs.append(job)
            self._last_short = job.arrived if job.short else self._last_short
            self._changed.notify()
        return job.result

    def close(self, timeout: float | None = None) -> bool:
        """Take no more jobs and run those that wait; whether that was done in time. What was not is ended as late."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            for job in self._jobs:
                job.fail(LateError())
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                self.beat = time.monotonic()
                while not (batch := self._next()).rows:
                    if self._closed:
                        return
                    self._changed.wait(1.0)
                    self.beat = time.monotonic()
            self._run_batch(batch)

    def _next(self) -> Batch:
        """The rows that go next, taken from their jobs."""
        now = time.monotonic()
        for job in self._jobs:
            if job.deadline < now:
                job.fail(LateError())
        self._jobs = [job for job in self._jobs if job.left and not job.result.done()]
        if not self._jobs:
            return Batch([], 0, 0)
        short = [job for job in self._jobs if job.short]
        long = [job for job in self._jobs if not job.short]
        self._turn += 1
        if short and not (long and self._turn % TURN == 0):
            return self._packed(short, self.limits.batch_tokens)
        recent = self._last_short > now - RECENT
        piece = int(self._speed * max(PIECE, PIECE_TIMES * self._short)) if recent else self.limits.batch_tokens
        return self._packed(long, min(piece, self.limits.batch_tokens))

    def _packed(self, jobs: Sequence[Job], most: int) -> Batch:
        """Rows of jobs that may share a pass with the first, oldest first, in `most` tokens at most."""
        rows: list[tuple[Job, int]] = []
        tokens = longest = 0
        spare = PASS * self._speed
        for job in [job for job in jobs if job.key == jobs[0].key]:
            taken = []
            for row in job.left:
                size = max(1, job.tokens[row])
                wide = max(longest, size) * (len(rows) + 1)
                if rows and (wide > most or len(rows) >= self.limits.batch_items):
                    break
                if rows and wide > PADDED * (tokens + size) + spare:
                    if size <= longest:
                        break  # those that follow are shorter still
                    continue
                rows.append((job, row))
                taken.append(row)
                tokens, longest = tokens + size, max(longest, size)
            if taken:
                job.take(taken)
                job.started = time.monotonic() if job.started is None else job.started
        return Batch(rows, tokens, longest * len(rows))

    def _run_batch(self, batch: Batch, *, whole: bool = True) -> None:
        """Run rows of one key. Where that fails, each job of several alone; of one, its halves if memory lacked."""
        rows = [(job, row) for job, row in batch.rows if not job.result.done()]
        if not rows:
            return
        begin = time.perf_counter()
        try:
            items, how = [job.items[row] for job, row in rows], [job.how[row] for job, row in rows]
            found = self._run(rows[0][0].key, items, how)
            if len(found) != len(rows):
                raise RuntimeError(f"the model gave {len(found)} outputs for {len(rows)} items")
        except Exception as error:
            parts = _apart(rows)
            if len(parts) == 1 and whole and len(rows) > 1 and lacks_memory(error):
                parts = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
            if len(parts) > 1:
                for part in parts:
                    self._run_batch(batch._replace(rows=part), whole=False)
                return
            if not isinstance(error, AnysizeError) or isinstance(error, CheckpointError):  # others: bad input
                self.failures += 1
                self._failed(error)
            rows[0][0].fail(error)
            return
        seconds = time.perf_counter() - begin
        self.failures = 0
        self._speed = 0.8 * self._speed + 0.2 * batch.tokens / max(seconds, 1e-6)
        if len(rows) <= SHORT and rows[0][0].short:
            self._short = 0.8 * self._short + 0.2 * seconds
        self._done(batch._replace(rows=rows, seconds=seconds))
        for (job, row), output in zip(rows, found, strict=True):
            job.outputs[row] = output
            job.missing -= 1
        for part in _apart(rows):
            job = part[0][0]
            job.ran, job.largest = job.ran + seconds, max(job.largest, len(rows))
            if not job.missing:
                _told(job.result.set_result, job.outputs)


def _apart(rows: list[tuple[Job, int]]) -> list[list[tuple[Job, int]]]:
    """The rows of each job."""
    parts: dict[int, list[tuple[Job, int]]] = {}
    for job, row in rows:
        parts.setdefault(id(job), []).append((job, row))
    return list(parts.values())


def _told(tell: Callable[[Any], None], what: Any) -> None:
    """Unless the one who asked has gone."""
    with contextlib.suppress(InvalidStateError):
        tell(what)
