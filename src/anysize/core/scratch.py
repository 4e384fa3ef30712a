"""
Temporary names beside a target, ``.NAME.PID-HEX.tmp``, and the removal of those whose process was killed.

Whoever writes under such a name holds a lock on it, so that one of a living process is told from a leftover, also where
process numbers say nothing (another container on the same disk).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_YOUNG = 1.0
"""Seconds within which a name may not be locked yet by who made it."""


def scratch_name(target: Path) -> Path:
    """A name beside `target` that nobody else uses."""
    return target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


@contextlib.contextmanager
def scratch_file(target: Path) -> Iterator[int]:
    """A new file (its descriptor) under a temporary name, with the mode of the umask; in the end it is `target`."""
    sweep(target)
    path = scratch_name(target)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        _hold(file)
        yield file
        os.replace(path, target)
    finally:
        os.close(file)
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(target: Path, mode: int = 0o777) -> Iterator[Path]:
    """A new folder under a temporary name beside `target`; removed at the end, with whatever has that name then."""
    sweep(target)
    path = scratch_name(target)
    path.mkdir(mode)
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _hold(file)
        yield path
    finally:
        os.close(file)
        shutil.rmtree(path, ignore_errors=True)


def temporary_folder() -> contextlib.AbstractContextManager[Path]:
    """A folder of one's own among the system's temporary files; what killed processes left there is removed."""
    return scratch_folder(Path(tempfile.gettempdir()) / "anysize", 0o700)


def discard(folder: Path) -> None:
    """Remove a folder of ours as one step: killed on the way, it stands there whole or has lost its name."""
    gone = scratch_name(folder)
    with contextlib.suppress(OSError):
        os.rename(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)


def sweep(target: Path) -> None:
    """Remove what killed processes of this user left under temporary names of `target`; never through a link."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.(\d+)-[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            if found and _is_left_over(Path(entry.path), int(found[1])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _is_left_over(path: Path, process: int) -> bool:
    try:
        seen = path.lstat()
        plain = stat.S_ISDIR(seen.st_mode) or stat.S_ISREG(seen.st_mode)
        if not plain or seen.st_uid != os.geteuid() or time.time() - seen.st_mtime < _YOUNG or _alive(process):
            return False
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _hold(file: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: then the process number alone decides
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
