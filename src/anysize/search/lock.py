"""One writer at a time: an exclusive lock that dies with its process, so a killed writer leaves none behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from anysize.core.errors import AnysizeError

LOCK = ".anysize-index.lock"


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[None]:
    """
    Hold the only right to write into an index. Readers take no lock.

    Raises `AnysizeError` at once if another writer holds it, or if a link stands in the lock's place.
    """
    busy = f"another process is writing to the index {directory}; wait until it is done and try again"
    try:
        handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise AnysizeError(f"{directory / LOCK} is a symbolic link; remove it and try again") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnysizeError(busy) from None
        if not _is_current(handle, directory / LOCK):  # its last holder gave up a first build and removed the file
            raise AnysizeError(busy)
        yield
    finally:
        os.close(handle)


def _is_current(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
