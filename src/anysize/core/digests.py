"""
What a file held when it was written, and whether it still does: its length and SHA-256, checked when it is first read.

Hashing a large file takes longer than opening it, so a check that passed is remembered by the file's identity (device,
inode, length, times of change) together with the digest that was expected: in this process, and for later ones in a
small file of the user's own, ``$XDG_CACHE_HOME/anysize/digests``. A file that was written to since has another identity
and is read again. The cache says nothing else: without it, or with a damaged one, everything is merely hashed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from anysize.core.errors import CheckpointError
from anysize.core.files import as_json, read_object, write_bytes, write_json

SEAL, SIGNATURE = "digests.json", "sha256"
_TOKEN = 16
"""Bytes of the cache that say that one identity had one digest."""
_MOST = 1 << 14
"""Tokens in the cache, above which the older half is dropped: 256 KiB, read in two milliseconds."""
_WORTH_WAITING = 1 << 22
"""Bytes that take longer to hash than `remember` waits."""
_SETTLED, _SETTLED_COARSE = 20_000_000, 2_000_000_000
"""
Nanoseconds after a change within which another may bear the same time: file systems take the time from a clock that
ticks every few milliseconds, or every second or two.
"""


@dataclass(frozen=True)
class Digest:
    """The length and the SHA-256 (hex digits) of a file as it was written."""

    bytes: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return {"bytes": self.bytes, "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises `ValueError` for anything that `to_json` does not give."""
        if not isinstance(value, dict) or value.keys() != {"bytes", "sha256"}:
            raise ValueError("a digest consists of bytes and sha256")
        length, digits = value["bytes"], value["sha256"]
        if type(length) is not int or not 0 <= length < 1 << 63:
            raise ValueError(f"a file cannot have {length!r} bytes")
        if not isinstance(digits, str) or not re.fullmatch("[0-9a-f]{64}", digits):
            raise ValueError(f"{digits!r} is not a SHA-256")
        return cls(length, digits)


class Identity(NamedTuple):
    """What the system says of a file without reading it; it changes whenever the file is written to."""

    device: int
    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, file: int | Path) -> Self:
        """Of an open file, by its descriptor, or of the one at a path."""
        found = os.stat(file)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def settled(self) -> bool:
        """Whether a change from now on would show in it."""
        coarse = self.modified_ns % 1_000_000_000 == 0 and self.changed_ns % 1_000_000_000 == 0
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > (_SETTLED_COARSE if coarse else _SETTLED)


def record(path: Path) -> Digest:
    """The digest of a file as it is; reads it whole."""
    with path.open("rb") as stream:
        return Digest(os.fstat(stream.fileno()).st_size, hashlib.file_digest(stream, "sha256").hexdigest())


def check(path: Path, expected: Digest) -> None:
    """Raise `CheckpointError`, naming the file, if it is missing, cannot be read, or is not what was written."""
    try:
        with path.open("rb", buffering=0) as stream:
            before = Identity.of(stream.fileno())
            _check_length(path, before.bytes, expected)
            if _cache.holds(before, expected):
                return
            settled = before.settled()
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            settled = settled and Identity.of(stream.fileno()) == before
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} is missing; copy the whole folder again") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from None
    _check_content(path, found, expected)
    if settled:
        _cache.add([(before, expected)])


def check_mapped(path: Path, content: Any, seen: Identity, expected: Digest) -> None:
    """
    The same of a file that was mapped into memory when its identity was `seen`, and may have lost its name since.

    `content` is the whole file, as bytes or a contiguous array of them; `path` only names it.
    """
    _check_length(path, seen.bytes, expected)
    if not _cache.holds(seen, expected):
        settled = seen.settled()
        _check_content(path, hashlib.sha256(content).hexdigest(), expected)
        if settled:
            _cache.add([(seen, expected)])


def remember(files: Mapping[Path, Digest]) -> None:
    """
    Note that whoever wrote these files hashed them on the way, so that the next reader need not.

    To be called when they lie under their final names, for renaming a file changes its identity; renaming a folder
    around it does not. Waits for a few milliseconds, until a later change would show, where hashing would take longer.
    """
    known = []
    for path, digest in files.items():
        with contextlib.suppress(OSError):
            known.append((Identity.of(path), digest))
    if sum(identity.bytes for identity, _ in known if not identity.settled()) > _WORTH_WAITING:
        time.sleep(1.5 * _SETTLED / 1e9)
    _cache.add([(identity, digest) for identity, digest in known if identity.settled()])


def seal(folder: Path) -> None:
    """Record every file of a folder in a file of its own there."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != SEAL]
    write_json(folder / SEAL, signed({str(path.relative_to(folder)): record(path).to_json() for path in files}))


def check_seal(folder: Path) -> None:
    """Raise `CheckpointError`, naming the file, if one that `seal` recorded was altered; a folder may have no seal."""
    if not (folder / SEAL).exists():
        return
    listed = read_object(folder / SEAL, "a record of files")
    check_signature(listed, folder / SEAL)
    for name in listed.keys() - {SIGNATURE}:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CheckpointError(f"{folder / SEAL} names {name}, which does not lie in its folder")
        try:
            expected = Digest.from_json(listed[name])
        except ValueError as error:
            raise CheckpointError(f"{folder / SEAL} is damaged or was changed by hand ({error})") from None
        check(folder / name, expected)


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file in one step, and its digest beside it in ``PATH.json``, so that `is_sealed` can tell it is whole."""
    write_bytes(path, content)
    digest = Digest(len(content), hashlib.sha256(content).hexdigest())
    write_bytes(_beside(path), as_json(digest.to_json()))


def is_sealed(path: Path) -> bool:
    """Whether a file is there just as `write_sealed` wrote it: for what can be made again."""
    try:
        check(path, Digest.from_json(read_object(_beside(path), "a digest")))
    except (CheckpointError, ValueError):
        return False
    return True


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def signed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with a checksum over the rest of it, which `check_signature` compares."""
    plain = json.loads(json.dumps(value))
    return {**plain, SIGNATURE: _signature(plain)}


def check_signature(value: Mapping[str, Any], where: Path) -> None:
    """Raise `CheckpointError` if a JSON object carries a checksum and it is not its own."""
    if SIGNATURE in value and value[SIGNATURE] != _signature(value):
        raise CheckpointError(f"{where} was altered: it no longer matches its own checksum; copy or make it again")


def _signature(value: Mapping[str, Any]) -> str:
    rest = {name: part for name, part in value.items() if name != SIGNATURE}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_length(path: Path, length: int, expected: Digest) -> None:
    if length != expected.bytes:
        raise CheckpointError(f"{path} holds {length} bytes instead of {expected.bytes}; it was cut short or altered")


def _check_content(path: Path, found: str, expected: Digest) -> None:
    if found != expected.sha256:
        raise CheckpointError(f"{path} was altered: it no longer matches its checksum; copy or make it again")


class _Cache:
    """Which identity had which digest, as tokens: in a set, and appended to a file of the user's."""

    def __init__(self) -> None:
        self._tokens: set[bytes] | None = None

    def holds(self, identity: Identity, digest: Digest) -> bool:
        """Whether a file of this identity was found to have this digest."""
        if self._tokens is None:
            self._tokens = _read_tokens()
        return _token(identity, digest) in self._tokens

    def add(self, known: list[tuple[Identity, Digest]]) -> None:
        """Remember these, which no change can take the identity of any more."""
        if self._tokens is None:
            self._tokens = _read_tokens()
        fresh = [token for token in (_token(*pair) for pair in known) if token not in self._tokens]
        if fresh:
            self._tokens.update(fresh)
            _append_tokens(fresh)


def _token(identity: Identity, digest: Digest) -> bytes:
    said = ",".join(map(str, (*identity, digest.bytes, digest.sha256)))
    return hashlib.blake2b(said.encode(), digest_size=_TOKEN).digest()


def _place() -> Path | None:
    """The file of the cache; None if this user has no place for one."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return Path(base, "anysize", "digests") if os.path.isabs(base) else None


def _open(place: Path, flags: int) -> int:
    """Open the cache. Raises `OSError` if it is a link, another user's, or open to others' writing."""
    file = os.open(place, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(file)
        raise PermissionError(f"{place} may hold what others wrote")
    return file


def _read_tokens() -> set[bytes]:
    place = _place()
    try:
        content = b"" if place is None else _content(place)
    except OSError:
        content = b""
    return {content[start : start + _TOKEN] for start in range(0, len(content), _TOKEN)}


def _content(place: Path) -> bytes:
    with os.fdopen(_open(place, os.O_RDONLY), "rb") as stream:
        content = stream.read(2 * _MOST * _TOKEN)
    return content if len(content) % _TOKEN == 0 else b""


def _append_tokens(fresh: list[bytes]) -> None:
    """One write, so that processes do not mix theirs; a file that is too long or was cut short is replaced by one."""
    place = _place()
    if place is None:
        return
    scratch = place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(_open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "wb", buffering=0) as stream:
            length = os.fstat(stream.fileno()).st_size
            if length % _TOKEN == 0 and length < _MOST * _TOKEN:
                stream.write(b"".join(fresh))
                return
        kept = (_content(place) + b"".join(fresh))[-_MOST * _TOKEN // 2 :]
        with os.fdopen(_open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as stream:
            stream.write(kept)
        os.replace(scratch, place)
    except OSError:
        # A home that cannot be written to, a full disk: then later processes hash again.
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


_cache = _Cache()
