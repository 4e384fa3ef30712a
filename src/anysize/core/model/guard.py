"""A lock for what a model can be told one way at a time, such as which of its adapters run."""

from __future__ import annotations

import threading
from typing import Any


class Guard:
    """
    Within, one thread at a time; the one that is within may enter again.

    A copy, or one from another process, is a guard of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return Guard, ()
