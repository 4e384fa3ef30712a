"""An index that is served: searches of many clients run together, and a new generation takes the old one's place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.search import Index, Results
from anysize.serve.held.batching import Job, Limits, Queue
from anysize.serve.held.metrics import Metrics
from anysize.serve.held.served import Served
from anysize.serve.held.settings import Settings

LOG = logging.getLogger("anysize.serve")


class Asked(NamedTuple):
    """What searches must have in common to run together."""

    k: int
    stages: Any = None
    approximate: str | None = None
    size: str | None = None
    width: int = 0
    """Of vectors; 0 for texts and parts."""


class Indexed:
    """One index under its name, with the model that embeds its queries, which others may ask too."""

    def __init__(self, name: str, path: Path, served: Served | None, settings: Settings, metrics: Metrics) -> None:
        self.name, self.path, self.served, self.metrics, self.settings = name, path, served, metrics, settings
        self.index = self._opened()
        self._seen = self._stamp()
        self.queue = Queue(
            self._search,
            Limits(batch_tokens=1 << 40, batch_items=128, queue_tokens=settings.max_queue_searches),
            failed=lambda error: metrics.failures.labels(name).inc(),
        )

    def about(self) -> dict[str, Any]:
        """What a client may know of it."""
        manifest = self.index.manifest
        return {
            "id": self.name,
            "object": "index",
            "model": None if self.served is None else self.served.name,
            "items": manifest.count,
            "dims": manifest.dims,
            "sizes": [str(size) for size in manifest.nesting],
            "metric": manifest.metric,
            "source": manifest.source,
            "bytes": manifest.bytes,
            "generation": manifest.generation,
            "built_at": manifest.model_size,
        }

    async def search(self, queries: Sequence[Any], asked: Asked, arrived: float) -> list[tuple[Results, int]]:
        """For each query what is found, and in which generation."""
        deadline = arrived + self.settings.timeout
        job = Job(queries, [None] * len(queries), [1] * len(queries), asked, deadline)
        future = asyncio.wrap_future(self.queue.submit(job))
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            found = await future
        for results, _ in found:
            self.metrics.read.labels(self.name).inc(results.bytes_read or 0)
        return found

    def _search(self, asked: Asked, queries: list[Any], _how: list[Any]) -> list[tuple[Results, int]]:
        index = self.index  # one generation for the whole batch
        given = np.stack(queries) if asked.width else queries
        with contextlib.nullcontext() if self.served is None else self.served.lock:
            found = index.search_many(given, asked.k, asked.stages, asked.approximate, asked.size)
        return [(results, index.manifest.generation) for results in found]

    # Generations

    async def watch(self) -> None:
        """Look once a second for a new generation, and take it."""
        while True:
            await asyncio.sleep(self.settings.watch)
            if self._stamp() != self._seen:
                try:
                    await asyncio.to_thread(self.refresh)
                except AnysizeError as error:
                    LOG.error("%s", error)

    def refresh(self) -> bool:
        """Take the newest generation; whether there was one. One that cannot be opened leaves the old."""
        stamp = self._stamp()
        try:
            new = self._opened()
        except AnysizeError as error:
            self.metrics.broken.labels(self.name).inc()
            self._seen = stamp
            raise CheckpointError(f"the new generation of {self.name} cannot be opened ({error})") from error
        self._seen = stamp
        if new.manifest.generation == self.index.manifest.generation:
            return False
        self.index = new
        self.metrics.generation.labels(self.name).set(new.manifest.generation)
        return True

    def warm(self) -> None:
        """Search once, so that what is read at the first search is read."""
        self.metrics.generation.labels(self.name).set(self.index.manifest.generation)
        if len(self.index):
            with contextlib.suppress(AnysizeError):
                self._search(Asked(1, width=1), [np.ones(self.index.manifest.nesting.full.dims, np.float32)], [None])

    def _opened(self) -> Index:
        if self.served is None:
            return Index.open(self.path)
        model: Any = self.served.model
        with self.served.lock:
            return Index.open(self.path, model=model)

    def _stamp(self) -> tuple[int, int, int]:
        with contextlib.suppress(OSError):
            found = (self.path / "index.json").stat()
            return found.st_mtime_ns, found.st_size, found.st_ino
        return 0, 0, 0
