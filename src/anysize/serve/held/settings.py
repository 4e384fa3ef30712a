"""What an operator may set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anysize.core.errors import AnysizeError
from anysize.serve.held.batching import Limits

MAX_CONCURRENT = 4096
"""Requests that may be in flight at once."""


@dataclass(frozen=True)
class Settings:
    """Of one server. Raises `AnysizeError` for a value that makes no sense."""

    max_batch_tokens: int = 16384
    max_batch_texts: int = 64
    max_queue_tokens: int | None = None
    max_texts: int = 2048
    max_body: int = 8 * 2**20
    max_request_tokens: int = 300_000
    on_long: str = "error"
    timeout: float = 30.0
    drain: float = 25.0
    drain_notice: float = 5.0
    api_key_file: Path | None = None
    cors: tuple[str, ...] = ()
    metrics_open: bool = False
    lenient: bool = False
    default_size: str | None = None
    sizes: tuple[str, ...] = ()
    """Those that are offered of all that a model has; none named: all."""
    max_queue_searches: int = 1024
    watch: float = 1.0
    """Seconds between two looks for a new generation of an index."""

    def __post_init__(self) -> None:
        least = {"max_batch_tokens": 1, "max_batch_texts": 1, "max_texts": 1, "max_body": 1, "max_request_tokens": 1}
        for name, value in {**least, "timeout": 0.001, "drain": 0, "drain_notice": 0}.items():
            if getattr(self, name) < value:
                raise AnysizeError(f"{name.replace('_', '-')} is {getattr(self, name)}; expected {value} or more")
        if self.api_key_file is not None and "*" in self.cors:
            raise AnysizeError("with keys, name the origins of --cors; * would let every page use a key it learns")

    @property
    def limits(self) -> Limits:
        """Of each model's queue."""
        waiting = 8 * self.max_batch_tokens if self.max_queue_tokens is None else self.max_queue_tokens
        return Limits(self.max_batch_tokens, self.max_batch_texts, waiting)
