"""Vectors computed elsewhere, from npy, npz and safetensors files: memory-mapped where possible, and checked."""

from __future__ import annotations

import hashlib
import tokenize
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anysize.core.data.files.shards import Shards
from anysize.core.data.files.unpacking import most_unpacked, too_large
from anysize.core.errors import DataError

SUFFIXES = (".npy", ".npz", ".safetensors")
NAMES = ("vectors", "embeddings")
LABELS = ("labels", "label")
# What numpy raises of a header that is damaged, which it reads as the text of a Python dictionary.
_DAMAGED = (ValueError, EOFError, SyntaxError, TypeError, OverflowError, tokenize.TokenError)
_CHUNK = 1 << 24  # values checked at a time: 64 MB of float32


def vectors_of(path: Path) -> np.ndarray:
    """The (n, d) vectors of a file. A float32 npy stays on disk, memory-mapped. Raises `DataError`."""
    try:
        return {".npy": _npy, ".npz": _npz}.get(path.suffix.lower(), _safetensors)(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def labels_of(path: Path, count: int) -> tuple[list[str | int] | None, tuple[str, ...]]:
    """The labels of the `count` vectors in an npz, if it has some: words or whole numbers; and a note on others."""
    if path.suffix.lower() != ".npz":
        return None, ()
    with np.load(path, allow_pickle=False) as held:
        name = next((name for name in LABELS if name in held.files), None)
        try:
            found: Any = None if name is None else held[name]
        except ValueError:  # objects, which are never unpickled
            return None, (f"the {name} are pickled objects and are not read",)
    if name is None:
        return None, ()
    if found.shape != (count,) or found.dtype.kind not in "iuU":
        what = f"{found.dtype} of shape {found.shape}"
        return None, (f"the {name} are {what} and are not read; expected {count} words or whole numbers",)
    return list(found.tolist()), ()


class Checked(NamedTuple):
    """Rows that were looked through once."""

    rows: Any
    """(n, d) float32, perhaps mapped."""
    fingerprint: str
    notes: tuple[str, ...]


def checked(found: np.ndarray | Shards, where: str) -> Checked:
    """
    As (n, d) float32 rows, with the SHA-256 of their content, a block at a time.

    Raises `DataError`, naming a bad row: one with NaN or an infinite value, or so long that its square is no float32.
    """
    if found.ndim != 2:
        raise DataError(f"{where} has shape {found.shape}; expected one vector a row, (n, d)")
    if found.dtype.kind not in "fiu":
        raise DataError(f"{where} holds {found.dtype}; expected numbers")
    if 0 in found.shape:
        raise DataError(f"{where} has shape {found.shape}, so it is empty")
    rows: Any = found
    if not isinstance(found, Shards):  # whose rows are float32 when they are read
        with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinite, and is refused below
            rows = np.asanyarray(found, dtype=np.float32, order="C")
    digest = hashlib.sha256(f"vectors {rows.shape}".encode())
    step = max(1, _CHUNK // rows.shape[1])
    zeros, known = 0, []
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        zeros += _zeros(chunk, start, where)
        known.append(row_hashes(chunk))
        digest.update(chunk.data)
    notes = [f"{zeros} of {len(rows)} rows are zeros or nearly, and have no direction"] if zeros else []
    repeated = len(rows) - len(np.unique(np.concatenate(known)))
    if repeated:
        notes.append(f"{repeated} of {len(rows)} rows repeat an earlier one and are kept")
    return Checked(rows, digest.hexdigest(), tuple(notes))


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """(n,) uint64, equal for equal float32 rows (n, d) and, for all that chance can do, for no others."""
    factors: Any = np.random.default_rng(0).integers(1, 1 << 63, size=rows.shape[1], dtype=np.uint64)
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    found = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):  # a column at a time, so that nothing wider than the rows is made
        found = (found ^ (bits[:, column] * (factors[column] | np.uint64(1)))) * np.uint64(0x9E3779B97F4A7C15)
        found ^= found >> np.uint64(29)
    return found


def _zeros(chunk: np.ndarray, start: int, where: str) -> int:
    """How many rows have no length that float32 can tell; `DataError` if one is infinite, NaN or too long."""
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.einsum("nd,nd->n", chunk, chunk)  # in float32, as everything that reads them computes
    good = np.isfinite(squares)
    if good.all():
        return int((squares < np.finfo(np.float32).tiny).sum())
    row = int(np.argmin(good))
    if np.isfinite(chunk[row]).all():
        length = np.linalg.norm(chunk[row].astype(np.float64))
        raise DataError(
            f"{where}: row {start + row} (from 0) has the length {length:.3g}, whose square is too large for float32; "
            "scale the vectors down"
        )
    raise DataError(f"{where}: row {start + row} (from 0) holds NaN or an infinite value")


def _npz(path: Path) -> np.ndarray:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            most = most_unpacked(path.stat().st_size)
            if sum(entry.file_size for entry in archive.infolist()) > most:
                raise too_large(path, most)
        with np.load(path, allow_pickle=False) as held:
            if isinstance(held, np.ndarray):
                raise ValueError("it holds a single array, as a .npy does")
            named = [name for name in NAMES if name in held.files]
            tables = held.files if len(held.files) == 1 else [n for n in held.files if _shape(held, n) == 2]
            if not named and len(tables) != 1:
                raise DataError(
                    f"{path} holds {len(tables)} two-dimensional arrays of {len(held.files)} "
                    f"({', '.join(held.files[:8]) or 'none'}); expected one, or one named {' or '.join(NAMES)}"
                )
            found: np.ndarray = held[(named or tables)[0]]
            return found
    except (*_DAMAGED, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read as an npz file of numbers ({_reason(error)}); pickled objects and cut files are "
            "refused"
        ) from None


def _shape(held: Any, name: str) -> int:
    """How many dimensions an array has; -1 if it holds no numbers."""
    try:
        array = held[name]
    except ValueError:  # objects, which are never unpickled
        return -1
    return array.ndim if array.dtype.kind in "fiu" else -1


def _reason(error: Exception) -> str:
    # numpy takes any other file for a pickle, and says how to run it.
    return "it does not begin as one does" if "allow_pickle" in str(error) else " ".join(str(error).split()).rstrip(".")


def _npy(path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise DataError(
            f"{path} cannot be read as an npy file of numbers ({_reason(error)}); rows of differing width, pickled "
            "objects and cut files are refused"
        ) from None


def _safetensors(path: Path) -> np.ndarray:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            present = file.keys()
            views = {name: file.get_slice(name) for name in present}
            tables = [name for name, view in views.items() if _is_table(view)]
            named = [name for name in NAMES if name in views]
            if not named and len(tables) != 1:
                raise DataError(
                    f"{path} holds {len(tables)} two-dimensional tensors of floats"
                    f" ({', '.join(sorted(views)) or 'no tensors'}); expected one, or one named {' or '.join(NAMES)}"
                )
            name = (named or tables)[0]
            if views[name].get_dtype() != "BF16":
                return file.get_tensor(name)
        with safe_open(path, framework="pt") as file:  # numpy has no bfloat16
            return file.get_tensor(name).float().numpy()
    except SafetensorError as error:
        raise DataError(f"{path} cannot be read as safetensors ({error})") from None


def _is_table(view: Any) -> bool:
    return len(view.get_shape()) == 2 and view.get_dtype() in ("F16", "BF16", "F32", "F64")


def is_shards(folder: Path) -> bool:
    """Whether a folder holds .npy files and, beside notes in JSON, nothing else: other files may be other data."""
    endings = {path.suffix for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
    return ".npy" in endings and endings <= {".npy", ".json"}


def read_shards(folder: Path) -> Shards:
    """
    The .npy files of a folder, in the order of their names.

    Raises `DataError`, naming the file, if one is cut short, is no table of numbers, or has another width.
    """
    parts: list[np.ndarray] = []
    for path in sorted(folder.glob("*.npy")):
        part = vectors_of(path)
        if part.ndim != 2 or part.dtype.kind not in "fiu" or 0 in part.shape:
            raise DataError(f"{path} has shape {part.shape} of {part.dtype}; expected rows of numbers, (n, d)")
        if parts and part.shape[1] != parts[0].shape[1]:
            raise DataError(f"{path} has vectors of width {part.shape[1]}; those before have {parts[0].shape[1]}")
        parts.append(part)
    return Shards(parts)
