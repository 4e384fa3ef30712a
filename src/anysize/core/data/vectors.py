"""Vectors that were computed elsewhere, from npy and safetensors files: memory-mapped where possible, and checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data.shards import Shards
from anysize.core.errors import DataError

SUFFIXES = (".npy", ".safetensors")
NAMES = ("vectors", "embeddings")
_CHUNK = 1 << 24  # values checked at a time: 64 MB of float32


def vectors_of(path: Path) -> np.ndarray:
    """The (n, d) vectors of a file. A float32 npy stays on disk, memory-mapped. Raises `DataError`."""
    try:
        return _npy(path) if path.suffix.lower() == ".npy" else _safetensors(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def checked(found: np.ndarray | Shards, where: str) -> tuple[np.ndarray, str]:
    """As (n, d) float32 rows, with the SHA-256 of their content. Raises `DataError`, naming a bad row."""
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
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            raise DataError(f"{where}: row {start + int(np.argmin(finite))} (from 0) holds NaN or an infinite value")
        digest.update(chunk.data)
    return rows, digest.hexdigest()


def _npy(path: Path) -> np.ndarray:
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        # numpy takes any other file for a pickle, and says how to run it.
        reason = "it does not begin as one does" if "allow_pickle" in str(error) else str(error).rstrip(".")
        raise DataError(
            f"{path} cannot be read as an npy file of numbers ({reason}); rows of differing width, pickled objects and "
            "cut files are refused"
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
