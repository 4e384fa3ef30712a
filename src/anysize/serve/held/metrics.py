"""What Prometheus reads. A size is a label only where it is trained, so that there are never many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from anysize.serve.held.batching import Batch

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RATIOS = (1, 1.1, 1.25, 1.5, 2, 4)


class Metrics:
    """All of a server's, each beginning with ``anysize_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests that were answered.", "endpoint", "status", "size")
        self.seconds = self._histogram("request_seconds", "From arrival to answer.", _SECONDS, "endpoint")
        self.queued = self._histogram("queue_seconds", "What a request waited for its batch.", _SECONDS)
        self.forward = self._histogram("forward_seconds", "What a batch took.", _SECONDS, "model")
        self.batch = self._histogram("batch_items", "Items of a batch.", (1, 2, 4, 8, 16, 32, 64), "model")
        self.padding = self._histogram("padding_ratio", "Tokens of a batch, with padding over without.", _RATIOS)
        self.tokens = self._counter("tokens", "Tokens that were run, padding left out.", "model")
        self.waiting = self._gauge("queue_tokens", "Tokens that wait.", "model")
        self.rejected = self._counter("rejected", "Requests that were refused.", "reason")
        self.failures = self._counter("engine_failures", "Batches that failed by no fault of the input.", "model")
        self.cut = self._counter("cut_texts", "Texts that were longer than a model reads, and were cut there.")
        self.generation = self._gauge("index_generation", "The generation that is searched.", "index")
        self.broken = self._counter("index_broken_generations", "Generations that could not be opened.", "index")
        self.read = self._counter("search_bytes_read", "Bytes that searches touched.", "index")

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(name, said, labels, namespace="anysize", registry=self.registry)

    def _gauge(self, name: str, said: str, *labels: str) -> Gauge:
        return Gauge(name, said, labels, namespace="anysize", registry=self.registry)

    def _histogram(self, name: str, said: str, bounds: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, said, labels, namespace="anysize", registry=self.registry, buckets=bounds)

    def of_batches(self, name: str) -> Callable[[Batch], None]:
        """What a queue tells of each batch of the model called `name`."""

        def told(batch: Batch) -> None:
            self.forward.labels(name).observe(batch.seconds)
            self.batch.labels(name).observe(len(batch.rows))
            self.padding.observe(batch.padded / max(1, batch.tokens))
            self.tokens.labels(name).inc(batch.tokens)

        return told

    def text(self) -> bytes:
        """In the format that Prometheus reads."""
        return generate_latest(self.registry)
