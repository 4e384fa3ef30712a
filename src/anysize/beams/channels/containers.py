"""Named arrays of npy, npz, HDF5 and MATLAB files: no objects, no links to other files, no more than was meant."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data.files.unpacking import most_unpacked, too_large
from anysize.core.errors import AnysizeError, DataError, reason_of

NUMBERS = "fiucU"
_INSTALL = 'pip install "anysize[beams]"'


class Held:
    """What a file holds: the names of its arrays with what is known before reading, and a way to read one."""

    def __init__(self, shapes: Mapping[str, tuple[tuple[int, ...], str]], read: Callable[[str], Any]) -> None:
        self.shapes = dict(shapes)
        """Name -> shape, and the kind of the values as numpy has it: c for complex, O for what is no number."""
        self.read = read


def held(path: Path) -> Held:
    """
    The arrays of a file. Raises `DataError` if it cannot be read, holds more than it may unpack to, or asks for code.

    HDF5 (also MATLAB 7.3) needs h5py and older MATLAB files scipy, of the extra ``beams``.
    """
    opener = {".npy": _npy, ".npz": _npz, ".mat": _mat}.get(path.suffix.lower(), _hdf5)
    try:
        return opener(path)
    except (AnysizeError, MemoryError):
        raise
    except ImportError as error:
        raise DataError(f"{path} needs {error.name}; install it with: {_INSTALL}") from None
    except Exception as error:  # numpy, h5py and scipy have no common error for a bad file
        raise DataError(f"{path} cannot be read ({reason_of(error)}); it may be cut short or damaged") from None


def _npy(path: Path) -> Held:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    return Held({"channels": (found.shape, found.dtype.kind)}, lambda _: found)


def _npz(path: Path) -> Held:
    most = most_unpacked(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > most:
            raise too_large(path, most)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            with archive.zip.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                header = np.lib.format.read_array_header_1_0 if version == (1, 0) else _header_2
                shape, _, dtype = header(member)
                shapes[name] = (shape, dtype.kind)

    def read(name: str) -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            found: np.ndarray = archive[name]
            return found

    return Held(shapes, read)


def _header_2(member: Any) -> Any:
    return np.lib.format.read_array_header_2_0(member)


def _mat(path: Path) -> Held:
    with path.open("rb") as file:
        if file.read(19) == b"MATLAB 7.3 MAT-file":
            return _hdf5(path, matlab=True)
    from scipy.io import loadmat, whosmat

    kinds = {"single": "f", "double": "f", "char": "U"}
    shapes = {name: (shape, kinds.get(kind, "i" if "int" in kind else "O")) for name, shape, kind in whosmat(path)}
    most = most_unpacked(path.stat().st_size)
    if sum(16 * _count(shape) for shape, _ in shapes.values()) > most:
        raise too_large(path, most)

    def read(name: str) -> np.ndarray:
        found: np.ndarray = loadmat(path, variable_names=[name])[name]
        return found

    return Held(shapes, read)


def _hdf5(path: Path, matlab: bool = False) -> Held:
    import h5py

    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    most, whole = most_unpacked(path.stat().st_size), 0
    with h5py.File(path, "r") as file:
        for name in file:
            one = file.get(name, getclass=True, getlink=True) is h5py.HardLink and file[name]
            if not isinstance(one, h5py.Dataset):
                continue  # groups, and links that may lead to other files
            if one.external or one.is_virtual:
                raise DataError(f"{path}: {name} lies in other files, which are not read; copy it into one file")
            pairs = one.dtype.names is not None and len(one.dtype.names) == 2
            kind = "c" if pairs and all(one.dtype[part].kind == "f" for part in one.dtype.names) else one.dtype.kind
            shapes[name] = (one.shape[::-1] if matlab else one.shape, kind if kind in NUMBERS + "S" else "O")
            whole += _count(one.shape) * one.dtype.itemsize
        attributes = {name: value for name, value in file.attrs.items() if name == "panel"}
    if whole > most:
        raise too_large(path, most)
    shapes |= {name: (np.shape(value), np.asarray(value).dtype.kind) for name, value in attributes.items()}

    def read(name: str) -> Any:
        if name in attributes:
            return attributes[name]
        with h5py.File(path, "r") as file:
            found = file[name][()]
        if isinstance(found, bytes):
            return found.decode()
        if found.dtype.names is not None:  # MATLAB 7.3 keeps the two parts by name
            real, imag = (found[part] for part in found.dtype.names)
            found = real + 1j * imag
        return found.T if matlab else found  # MATLAB counts the first dimension fastest

    return Held(shapes, read)


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod([int(length) for length in shape], dtype=object)) if shape else 1


def manifest(path: Path) -> dict[str, Any]:
    """What stands beside a file, in a JSON file of its name; nothing if there is none."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{beside} cannot be read as JSON ({reason_of(error)})") from None
    if not isinstance(found, dict):
        raise DataError(f'{beside} holds no object; expected like {{"panel": {{"rows": 8, "columns": 8}}}}')
    return found
