"""Writing so that a reader never meets half a file: temporary name, flush, rename."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.scratch import scratch_file, scratch_folder

README = "README.md"
"""Ours in a folder that we write, until somebody changes it; then it is theirs, and never lost."""
_END = re.compile(r"\n<!-- anysize wrote this card and replaces it unless it was changed: ([0-9a-f]{16}) -->\n\Z")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


_filling: dict[Path, Path] = {}
"""Folders that `in_one_step` has handed out -> whose place they will take."""


@contextlib.contextmanager
def new_directory(target: str | os.PathLike[str], *, marker: str) -> Iterator[Path]:
    """
    Fill a directory under a temporary name; on success it takes `target`'s place `in_one_step`.

    An existing `target` is replaced only if it holds a file named `marker`, that is, if we made it, and never if it is
    a symbolic link. Where `target` is what `in_one_step` gave, it is filled as it stands, as a part of that step.
    """
    final = Path(os.path.abspath(target))
    replaced = _filling.get(final, final)
    check_replaceable(replaced, marker)
    with contextlib.nullcontext(final) if final in _filling else in_one_step(final) as scratch:
        yield scratch
        check_replaceable(replaced, marker)  # the work may have taken hours


@contextlib.contextmanager
def in_one_step(final: Path) -> Iterator[Path]:
    """
    A folder to hand to what calls `new_directory`, and to add to; in the end it takes the place of `final` in one step.

    If the body raises (a full disk, Ctrl-C), `final` stays as it was and the folder is removed; one that a killed
    process left is removed by the next that writes there. Files get the umask's mode. A README.md that is `theirs` is
    taken over.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(final) as scratch:
        _filling[scratch] = final
        try:
            yield scratch
        finally:
            del _filling[scratch]
        if (file := theirs(final)) is not None:
            (scratch / README).write_bytes(file.read_bytes())
        _settle(scratch)
        if final.exists():
            _exchange(scratch, final)
        else:
            os.replace(scratch, final)
        flush_names(final.parent)


def ended(text: str) -> str:
    """The text, and at its end a digest of it, by which one that somebody changed is known."""
    return f"{text}\n<!-- anysize wrote this card and replaces it unless it was changed: {_digest(text)} -->\n"


def theirs(folder: Path) -> Path | None:
    """The README.md of a folder, if it is not as we wrote it; None if there is none, or ours."""
    file = folder / README
    if not file.is_file():
        return None
    text = file.read_bytes().decode("utf-8", "replace")
    end = _END.search(text)
    return None if end is not None and _digest(text[: end.start()]) == end[1] else file


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_replaceable(target: Path, marker: str) -> None:
    """Raise `CheckpointError` if something that we did not write stands at `target`, or a symbolic link."""
    refuse_link(target)
    if target.is_dir() and (not any(target.iterdir()) or (target / marker).is_file()):
        return
    if target.exists():
        raise CheckpointError(
            f"{target} exists and holds no {marker}, so it is not ours to replace; name another place or delete it"
        )


def refuse_link(path: Path) -> None:
    """Raise `CheckpointError` if a symbolic link stands at `path`, whether or not it leads anywhere."""
    if path.is_symlink():
        raise CheckpointError(
            f"{path} is a symbolic link (to {os.readlink(path)}), and links are neither followed nor replaced when "
            "writing; name the place itself"
        )


def check_file(path: Path) -> None:
    """Raise `AnysizeError` if no file can be written at `path`: to be called before long work, not after it."""
    refuse_link(path)
    if not path.absolute().parent.is_dir():
        raise AnysizeError(f"cannot write {path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise AnysizeError(f"cannot write {path}: it is a folder; name a file")
    if path.exists() and not path.is_file():
        raise AnysizeError(f"cannot write {path}: it is no ordinary file; name another place")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old content or the new, never a part. Refuses a symbolic link."""
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write several files, all or (where the disk has no room for one) none; each as `write_bytes` does."""
    for path in files:
        refuse_link(path)
    with contextlib.ExitStack() as all_written:
        for path, content in files.items():
            file, view = all_written.enter_context(scratch_file(path)), memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
    for folder in {path.parent for path in files}:
        flush_names(folder)


def disk_is_full(error: BaseException) -> bool:
    """Whether this is what the system, or a library on its behalf, says of a disk without room."""
    number = error.errno if isinstance(error, OSError) else None
    # safetensors reports the system's errors in a class of its own, with the number in the text.
    return any(number == code or f"(os error {code})" in str(error) for code in (errno.ENOSPC, errno.EDQUOT))


def as_json(value: Any) -> bytes:
    """A value as `write_json` writes it."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one step."""
    write_bytes(path, as_json(value))


def read_json(path: Path, what: str) -> Any:
    """
    Read JSON; `what` names the thing for the error message ("a model", "an index").

    Raises `CheckpointError` for what is not JSON in UTF-8, and for what readers of JSON take differently: a key given
    twice, and nesting deeper than anything that we write.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8"), object_pairs_hook=_each_key_once)
    except (FileNotFoundError, NotADirectoryError):
        if not path.parent.exists():
            raise CheckpointError(f"{path.parent} does not exist; expected {what}") from None
        raise CheckpointError(f"{path.parent} is not {what}: it holds no {path.name}") from None
    except RecursionError:
        raise CheckpointError(f"{path} cannot be read as {what}: it is nested too deep") from None
    except UnicodeDecodeError as error:
        raise CheckpointError(
            f"{path} cannot be read as {what}: byte {error.start} is not UTF-8; it may be damaged"
        ) from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as {what} ({error}); it may be damaged or cut short") from None


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object. Raises `CheckpointError` as `read_json` does, and for any other value."""
    found = read_json(path, what)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} cannot be read as {what}: it holds no JSON object; it may be damaged")
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return found


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, outlast a power cut. Raises `OSError` if the system cannot."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_names(folder: Path) -> None:
    """
    Make the names in a folder outlast a power cut, if the system can.

    What is to be seen has been renamed by then, so that to raise would say of a change that it did not happen.
    """
    with contextlib.suppress(OSError):
        flush(folder)


def _settle(folder: Path) -> None:
    """Give every file the mode that the umask gives (libraries write some for the owner alone), and flush it."""
    given = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if path.is_symlink():
            continue
        wanted, now = given & (0o666 if path.is_file() else 0o777), stat.S_IMODE(path.stat().st_mode)
        if now & 0o777 != wanted:
            path.chmod(now & ~0o777 | wanted)
        if path.is_file():
            flush(path)


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
