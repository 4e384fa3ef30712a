"""Writing so that a reader never meets half a file: temporary name, flush, rename."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anysize.core.errors import AnysizeError, CheckpointError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def new_directory(target: str | os.PathLike[str], *, marker: str) -> Iterator[Path]:
    """
    Fill a directory under a temporary name; on success it takes `target`'s place in one step.

    An existing `target` is replaced only if it holds a file named `marker`, that is, if we made it. If the body
    raises (a full disk, Ctrl-C), `target` stays as it was and the temporary directory is removed.
    """
    final = Path(os.path.abspath(target))
    check_replaceable(final, marker)
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = final.parent / f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    scratch.mkdir()
    try:
        yield scratch
        for file in scratch.rglob("*"):
            if file.is_file():
                flush(file)
        if final.exists():
            _exchange(scratch, final)
        else:
            os.replace(scratch, final)
        flush(final.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_replaceable(target: Path, marker: str) -> None:
    """Raise `CheckpointError` if something that we did not write stands at `target`."""
    if target.is_dir() and (not any(target.iterdir()) or (target / marker).is_file()):
        return
    if target.exists():
        raise CheckpointError(
            f"{target} exists and holds no {marker}, so it is not ours to replace; name another place"
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never a part."""
    scratch = path.parent / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        scratch.write_bytes(content)
        flush(scratch)
        os.replace(scratch, path)
        flush(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one step."""
    write_bytes(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """Read JSON; `what` names the thing for the error message ("a model", "an index")."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not {what}: it holds no {path.name}") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as {what} ({error}); it may be damaged or cut short") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(new: Path, old: Path) -> None:
    """Swap two directories. On Linux this is one system call; elsewhere there is a moment between two renames."""
    libc = ctypes.CDLL(None, use_errno=True)
    rename = getattr(libc, "renameat2", None)
    if rename and rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return
    aside = new.with_suffix(".old")
    os.replace(old, aside)
    os.replace(new, old)
    os.replace(aside, new)


@contextlib.contextmanager
def lock(path: Path, busy: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; raises `AnysizeError` with the sentence `busy` if another process has it."""
    import fcntl

    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AnysizeError(f"{busy}; wait for it to end") from None
        yield
