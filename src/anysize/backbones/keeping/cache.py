"""
Embeddings that outlive a process, in the user's cache: so `measure` need not embed again what `fit` embedded.

They stand in ``anysize/vectors`` below ``$XDG_CACHE_HOME`` (``~/.cache``), a folder for each model by its identity. A
file is named after the SHA-256 of its content and is dropped when that is no longer its own. Texts are not stored,
hashes of them are. ``ANYSIZE_CACHE_MB`` says how much may be kept (2048; 0 for nothing); what was not used for longest
goes first.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.core.files import write_bytes

SIZE = "ANYSIZE_CACHE_MB"
_DEFAULT = 2048


class VectorCache:
    """Keys of 16 bytes -> embeddings (d,) float32 of one model, kept in a folder of this user's."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._holds: dict[str, frozenset[bytes]] = {}
        """The name of a file that was read -> its keys, so that it is read again only for one of these."""

    @classmethod
    def of(cls, identity: str) -> VectorCache | None:
        """Of a model; None where nothing is to be kept. Raises `AnysizeError` for a limit that is no number."""
        said = os.environ.get(SIZE, str(_DEFAULT))
        if not said.isdecimal():
            raise AnysizeError(f"{SIZE} is {said!r}; expected how many megabytes of embeddings to keep, or 0")
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = base if base.is_absolute() else Path.home() / ".cache"
        return cls(base / "anysize" / "vectors" / identity, int(said) * 10**6) if int(said) else None

    def take(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray]:
        """Those of the keys that are known, with their embeddings."""
        wanted, found = set(keys), dict[bytes, np.ndarray]()
        for file in sorted(self.folder.glob("*.npz")) if wanted and _is_own(self.folder) else ():
            if file.name in self._holds and not wanted & self._holds[file.name]:
                continue
            there = dict(_read(file))
            self._holds[file.name] = frozenset(there)
            if rows := wanted & there.keys():
                found.update((key, there[key]) for key in rows)
                with contextlib.suppress(OSError):
                    os.utime(file)
        return found

    def add(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep embeddings (len(keys), d). A cache that cannot be written to keeps nothing."""
        stream = io.BytesIO()
        np.savez(stream, keys=np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1), vectors=vectors)
        content = stream.getvalue()
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_own(self.folder) and len(content) <= self.limit:
                write_bytes(self.folder / f"{hashlib.sha256(content).hexdigest()}.npz", content)
                self._make_room()

    def _make_room(self) -> None:
        known = [(file.stat(), file) for file in self.folder.parent.glob("*/*.npz")]
        left = sum(found.st_size for found, _ in known)
        for found, file in sorted(known, key=lambda one: one[0].st_mtime_ns):
            if left <= self.limit:
                return
            file.unlink(missing_ok=True)
            left -= found.st_size


def _read(file: Path) -> Iterable[tuple[bytes, np.ndarray]]:
    """What a file holds; nothing, and it is removed, if it is not what was written."""
    try:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != file.stem:
            file.unlink()
            return ()
        with np.load(io.BytesIO(content), allow_pickle=False) as shard:
            keys, vectors = shard["keys"], shard["vectors"]
    except (OSError, ValueError, KeyError):
        return ()
    return zip((key.tobytes() for key in keys), vectors, strict=True)


def _is_own(folder: Path) -> bool:
    """Whether no one but this user can have written there."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
