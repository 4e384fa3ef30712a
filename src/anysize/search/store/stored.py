"""
One immutable file of an index, held open by no descriptor, and checked against its digest when it is first read.

A reader keeps what it opened after a writer unlinks it, and an index may have thousands of segments. So a file is
mapped and its descriptor closed at once (Python's `mmap` keeps a duplicate of it), and one of a few pages is read.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.digests import Digest, Identity, check_mapped, record
from anysize.core.errors import AnysizeError, CheckpointError

SMALL = 1 << 14
"""Bytes up to which a file is read: a map would take as much memory, and the system counts maps (65,530 on Linux)."""
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


class Stored:
    """A file as it was when it was opened. Raises `FileNotFoundError`, or `CheckpointError` for another length."""

    __slots__ = ("_checked", "_content", "_seen", "digest", "path")

    def __init__(self, path: str, digest: Digest) -> None:
        self.path, self.digest = path, digest
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a FIFO would wait for ever
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise CheckpointError(f"{path} is no file; build the index again")
            self._seen = Identity.of(file)
            if self._seen.bytes != digest.bytes:
                raise CheckpointError(
                    f"{path} holds {self._seen.bytes} bytes instead of {digest.bytes}; it was cut short or altered"
                )
            self._content = _read(file, digest.bytes) if digest.bytes <= SMALL else _mapped(file, digest.bytes, path)
        finally:
            os.close(file)
        self._checked = False

    def content(self) -> np.ndarray:
        """Its bytes, uint8 (n,). Raises `CheckpointError` if they are not what was written."""
        if not self._checked:
            if self.digest.bytes > SMALL:
                check_mapped(Path(self.path), self._content, self._seen, self.digest)
            elif hashlib.sha256(self._content.data).hexdigest() != self.digest.sha256:  # as fast as to remember it
                raise CheckpointError(f"{self.path} was altered: it no longer matches its checksum; build it again")
            self._checked = True
        return self._content

    def verify(self) -> None:
        """Read it again, whatever was remembered. Raises `CheckpointError` if it is not what was written."""
        try:
            found = record(Path(self.path))
        except FileNotFoundError:
            raise CheckpointError(f"{self.path} is missing; build the index again") from None
        if found != self.digest:
            raise CheckpointError(f"{self.path} was altered: it no longer matches its checksum; build it again")


class _Map:
    """Pages of a file, which NumPy reads in place; given back when the last array over them goes."""

    def __init__(self, address: int, length: int) -> None:
        self.__array_interface__ = {"shape": (length,), "typestr": "|u1", "data": (address, True), "version": 3}
        self._span = address, length

    def __del__(self, munmap: Any = _libc.munmap) -> None:
        munmap(*self._span)


def _read(file: int, length: int) -> np.ndarray:
    return np.frombuffer(os.read(file, length), np.uint8) if length else np.zeros(0, np.uint8)


def _mapped(file: int, length: int, path: str) -> np.ndarray:
    address = _libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file, 0)
    if address == _FAILED:
        code = ctypes.get_errno()
        if code == errno.ENOMEM:
            raise AnysizeError(
                f"{path} cannot be mapped: the index has more files than this system maps at once; "
                "merge its segments with `anysize index --compact INDEX`"
            )
        raise OSError(code, os.strerror(code), path)
    return np.asarray(_Map(address, length))
