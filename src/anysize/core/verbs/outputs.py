"""What models give, kept: packed part by part while a run goes on, and written whole to a file at its end."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from anysize.core.errors import AnysizeError
from anysize.core.files import flush_names, refuse_link
from anysize.core.scratch import scratch_file

EXACT = 9
"""Significant digits that tell every float32 from its neighbours."""


class Values:
    """Outputs that are plain values: texts, labels with their probabilities."""

    forms: ClassVar[tuple[str, ...]] = (".jsonl",)
    ending: ClassVar[str] = ".json"

    def __init__(self, gives: str) -> None:
        self.gives = gives

    def listed(self, part: Any) -> list[Any]:
        """A JSON value for each output."""
        return list(part)

    def pack(self, part: Any) -> bytes:
        """A part as the content of a file."""
        return json.dumps(self.listed(part)).encode()

    def unpack(self, content: bytes) -> Any:
        """What `pack` wrote."""
        return json.loads(content)

    def joined(self, parts: Sequence[Any]) -> Any:
        """Several parts as one."""
        return [one for part in parts for one in part]

    def chunks(self, form: str, ids: Sequence[str], parts: Iterable[Any]) -> Iterator[bytes]:
        """The content of the file in one of `forms`."""
        place = 0
        for part in parts:
            listed = self.listed(part)
            rows = zip(ids[place : place + len(listed)], listed, strict=True)
            yield "".join(json.dumps({"id": name, "output": one}) + "\n" for name, one in rows).encode()
            place += len(listed)


class Arrays(Values):
    """One array of numbers for each item, all of one shape: vectors, codebooks."""

    forms = (".npy", ".npz", ".safetensors", ".jsonl")
    ending = ".npy"

    def listed(self, part: Any) -> list[Any]:
        """Lists of numbers; a complex one is a pair."""
        return [_numbers(row) for row in np.asarray(part)]

    def pack(self, part: Any) -> bytes:
        """As an npy file."""
        file = io.BytesIO()
        np.save(file, np.asarray(part), allow_pickle=False)
        return file.getvalue()

    def unpack(self, content: bytes) -> Any:
        """The array."""
        return np.load(io.BytesIO(content), allow_pickle=False)

    def joined(self, parts: Sequence[Any]) -> Any:
        """One array."""
        return np.concatenate([np.asarray(part) for part in parts])

    def chunks(self, form: str, ids: Sequence[str], parts: Iterable[Any]) -> Iterator[bytes]:
        """An npy file is written part by part; the others hold the ids too."""
        if form == ".npy":
            yield from _npy(len(ids), parts)
        elif form == ".jsonl":
            yield from super().chunks(form, ids, parts)
        else:
            yield _arrays(form, {self.gives: self.joined(list(parts))}, ids)


class Codes(Values):
    """A sparse code for each item: which latents are active, and how strongly."""

    forms = (".npz", ".safetensors", ".jsonl")
    ending = ".npz"

    def listed(self, part: Any) -> list[Any]:
        """``{"latents": [...], "values": [...]}``, in the order of the latents."""
        latents, values, offsets, _ = _csr(part)
        spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        return [{"latents": latents[a:b].tolist(), "values": _numbers(values[a:b])} for a, b in spans]

    def pack(self, part: Any) -> bytes:
        """The four arrays of compressed rows."""
        return _arrays(".npz", dict(zip(_CSR, _csr(part), strict=True)))

    def unpack(self, content: bytes) -> Any:
        """The four arrays."""
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            return tuple(held[name] for name in _CSR)

    def joined(self, parts: Sequence[Any]) -> Any:
        """The rows of all, as four arrays where they are packed, else as the model gives them."""
        if not isinstance(parts[0], tuple):
            return type(parts[0]).joined(list(parts))
        latents, values = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part[2]) for part in parts]))])
        return latents, values, offsets, parts[0][3]

    def chunks(self, form: str, ids: Sequence[str], parts: Iterable[Any]) -> Iterator[bytes]:
        """Arrays in the layout of ``scipy.sparse.load_npz``, with the ids beside them."""
        if form == ".jsonl":
            yield from super().chunks(form, ids, parts)
            return
        latents, values, offsets, width = _csr(self.joined(list(parts)))
        shape = np.array([len(ids), int(width)])
        held = {"indices": latents, "indptr": offsets, "data": values, "shape": shape}
        yield _arrays(form, held if form == ".safetensors" else {**held, "format": np.array(b"csr")}, ids)


_CSR = ("latents", "values", "offsets", "width")
_SHAPES: dict[str, type[Values]] = {"vectors": Arrays, "codebook": Arrays, "codes": Codes}


def shape_of(gives: str) -> Values:
    """How outputs of what a model `gives` are kept."""
    return _SHAPES.get(gives, Values)(gives)


def form_of(out: Path, shape: Values) -> str:
    """The format that a file's name asks for. Raises `AnysizeError` for one that cannot hold such outputs."""
    if out.suffix.lower() not in shape.forms:
        raise AnysizeError(f"cannot write {shape.gives} to {out}; name a file that ends in {', '.join(shape.forms)}")
    return out.suffix.lower()


def write_chunks(target: Path, chunks: Iterable[bytes]) -> None:
    """Write a file in one step, a chunk at a time: readers see what was there before, or all of the new."""
    refuse_link(target)
    with scratch_file(target) as file:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(file, view) :]
        os.fsync(file)
    flush_names(target.parent)


def _numbers(row: np.ndarray) -> Any:
    if row.ndim > 1:
        return [_numbers(one) for one in row]
    if np.iscomplexobj(row):
        return [_numbers(np.array([one.real, one.imag])) for one in row]
    return [float(f"{value:.{EXACT}g}") for value in row.tolist()]


def _csr(part: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if isinstance(part, tuple):
        return part
    found = [tensor.detach().cpu().numpy() for tensor in (part.indices, part.values, part.offsets)]
    return found[0], found[1], found[2], np.array(part.width)


def _npy(count: int, parts: Iterable[Any]) -> Iterator[bytes]:
    begun = False
    for part in parts:
        rows = np.ascontiguousarray(part)
        if not begun:
            head = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
            file = io.BytesIO()
            np.lib.format.write_array_header_1_0(file, {**head, "shape": (count, *rows.shape[1:])})
            yield file.getvalue()
            begun = True
        yield rows.tobytes()


def _arrays(form: str, held: dict[str, np.ndarray], ids: Sequence[str] | None = None) -> bytes:
    if form == ".safetensors":
        from safetensors.numpy import save

        return bytes(save({name: np.ascontiguousarray(one) for name, one in held.items()}, {"ids": json.dumps(ids)}))
    file = io.BytesIO()
    named: dict[str, Any] = held if ids is None else {**held, "ids": np.array(ids, dtype=np.str_)}
    np.savez(file, **named)
    return file.getvalue()
