"""Lines of text files, plain or gzip, of which no more is unpacked or held than a limit that can be raised."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from anysize.core.errors import AnysizeError, DataError

RATIO = 50
"""How many times its own size a gzip file may unpack to; text seldom reaches 20."""
ALWAYS = 1 << 26
"""Bytes that any file may unpack to."""
LINE = 1 << 28
"""Bytes that one line may have."""
_NAME = "ANYSIZE_UNPACK_RATIO"


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """
    Numbered lines of a UTF-8 file, plain or gzip, with their line ends.

    Raises `DataError`, naming file and line, if it cannot be read, is not UTF-8, or is larger than may be unpacked.
    """
    number = 0
    try:
        with opened(path) as stream:
            while line := stream.readline(LINE + 1):
                number += 1
                if len(line) > LINE:
                    raise DataError(f"{path} line {number} is longer than {LINE >> 20} MiB; expected one record a line")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path} line {number} holds the byte 0x{byte:02x}, which is not UTF-8; save it as UTF-8"
        ) from None
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be read past line {number} ({error})") from None


def opened(path: Path) -> IO[bytes]:
    """A file to read, unpacked if its name ends in .gz; reading beyond the limit raises `DataError`."""
    if not path.name.lower().endswith(".gz"):
        return path.open("rb")
    return io.BufferedReader(_Limited(path), 1 << 16)


def most_unpacked(packed: int) -> int:
    """Bytes that a file of `packed` bytes may unpack to. Raises `AnysizeError` if the ratio set is no number."""
    given = os.environ.get(_NAME, str(RATIO))
    if not given.isdecimal() or int(given) < 1:
        raise AnysizeError(f"{_NAME} is {given!r}; expected a whole number above 0, how many times its size to unpack")
    return max(ALWAYS, int(given) * packed)


def too_large(path: Path, most: int) -> DataError:
    """What is said of a file that unpacks to more than it may."""
    return DataError(
        f"{path} unpacks to more than {most >> 20} MiB, the most that is read of a packed file of its size; if that is "
        f"meant, unpack it yourself or set {_NAME} above {os.environ.get(_NAME, RATIO)}, the times its size to read"
    )


class _Limited(io.RawIOBase):
    """A gzip file that stops when it has given more than it may."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = self._most = most_unpacked(path.stat().st_size)
        self._stream = gzip.GzipFile(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._stream.read(len(buffer))
        self._left -= len(found)
        if self._left < 0:
            raise too_large(self._path, self._most)
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._stream.close()
        super().close()
