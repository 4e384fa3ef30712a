"""
Nested weights on disk: one safetensors entry per increment, so that loading at a size reads only its bytes.

A weight of shape (384, 768) nested in its rows at 8, 64 and 384 is stored as the entries ``weight[0:8]``,
``weight[8:64]`` and ``weight[64:384]``. Each entry has its own SHA-256 in the manifest, so a partial load is also
a verified one. Nothing is ever unpickled or executed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from anysize.core.digests import Digest
from anysize.core.errors import CheckpointError
from anysize.core.model.manifest import wanted_blocks

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Cuts:
    """Where one tensor is cut: at `stops` (increasing, the last is its full length) along dimension `dim`."""

    dim: int
    stops: tuple[int, ...]


def write_blocks(directory: Path, tensors: Mapping[str, torch.Tensor], cuts: Mapping[str, Cuts]) -> dict[str, Any]:
    """Write `tensors`, cut where `cuts` says, and return the manifest entry that `read_blocks` needs."""
    blocks: dict[str, torch.Tensor] = {}
    entries: dict[str, Any] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu()
        cut = cuts.get(name, Cuts(0, (value.shape[0],) if value.dim() else (1,)))
        length = value.shape[cut.dim] if value.dim() else 1
        if cut.stops[-1] != length:
            raise CheckpointError(
                f"{name} has {length} slices but its largest size keeps {cut.stops[-1]}; none may be lost"
            )
        listed = []
        for start, stop in itertools.pairwise((0, *cut.stops)):
            piece = (value.narrow(cut.dim, start, stop - start) if value.dim() else value).contiguous()
            block = f"{name}[{start}:{stop}]"
            blocks[block] = piece.clone()
            listed.append({"block": block, "stop": stop, "bytes": piece.nbytes, "sha256": _digest(piece)})
        entries[name] = {"dim": cut.dim, "dtype": str(value.dtype).removeprefix("torch."), "blocks": listed}
    save_file(blocks, directory / WEIGHTS)
    return entries


def header_digest(directory: Path) -> Digest:
    """The length of the file that `write_blocks` wrote, and the SHA-256 of its header: what each block is and where."""
    with (directory / WEIGHTS).open("rb", buffering=0) as stream:
        return _Stored(stream).digest


def read_blocks(
    directory: Path,
    entries: Mapping[str, Any],
    keep: Mapping[str, int],
    *,
    known: Mapping[str, Any] | None = None,
    header: Digest | None = None,
) -> dict[str, torch.Tensor]:
    """
    Read each tensor up to `keep[name]` along its cut dimension (whole if not named), verifying what is read.

    `known` are all entries of the manifest, where `entries` are some; `header` is the file's `header_digest`, if known.
    Where `keep` lies between two cuts, the block up to the second is read whole, since its checksum is, and then cut.
    Raises `CheckpointError` if the file is missing, cut short or altered, if it holds a block that none of them names,
    or if `keep` exceeds the tensor.
    """
    path = directory / WEIGHTS
    try:
        with path.open("rb", buffering=0) as stream:
            stored = _Stored(stream)
            if header is not None and stored.digest != header:
                raise CheckpointError(
                    f"{path} was cut short or altered: its header or its length is not what was saved"
                )
            _check_known(stored, path, entries if known is None else known)
            return {name: _read(stored, path, name, entry, keep.get(name)) for name, entry in entries.items()}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; copy the whole directory again") from None
    except CheckpointError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, RuntimeError, OverflowError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it may be damaged or cut short") from None


class _Stored:
    """
    A safetensors file read by the byte.

    The library's reader maps the file, and the kernel then reads megabytes around every page that is touched; here
    each block costs one read of exactly its bytes. The format: the header's length (8 bytes, little-endian), the header
    (JSON: name -> dtype, shape, data_offsets), then the data.
    """

    def __init__(self, stream: Any) -> None:
        self.file = stream.fileno()
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_RANDOM)
        self.size = os.fstat(self.file).st_size
        first = self._bytes(0, 8)
        length = int.from_bytes(first, "little")
        if length > self.size:
            raise ValueError("its header is longer than the file")
        header = self._bytes(8, length)
        self.digest = Digest(self.size, hashlib.sha256(first + header).hexdigest())
        self.header = json.loads(header.decode("utf-8"))
        if not isinstance(self.header, dict):
            raise ValueError("its header is no JSON object")
        self.start = 8 + length

    def tensor(self, name: str) -> torch.Tensor:
        if name not in self.header:
            raise ValueError(f"it lacks {name}")
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        content, dtype = self._bytes(self.start + begin, end - begin), _DTYPES[entry["dtype"]]
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return flat.reshape(entry["shape"])

    def _bytes(self, start: int, count: int) -> bytearray:
        if not 0 <= start <= start + count <= self.size:
            raise ValueError(f"it ends {start + count - self.size} bytes too early")
        buffer, done = bytearray(count), 0
        while done < count:
            got = os.preadv(self.file, [memoryview(buffer)[done:]], start + done)
            if got == 0:
                raise ValueError(f"it ends {count - done} bytes too early")
            done += got
        return buffer


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _check_known(stored: _Stored, path: Path, entries: Mapping[str, Any]) -> None:
    named = {block["block"] for entry in entries.values() for block in entry["blocks"]}
    strangers = sorted(stored.header.keys() - named - {"__metadata__"})
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        raise CheckpointError(f"{path} was altered: it holds {strangers[0]}{more}, of which the manifest knows nothing")


def _read(stored: _Stored, path: Path, name: str, entry: Mapping[str, Any], keep: int | None) -> torch.Tensor:
    wanted = wanted_blocks(name, entry, keep)
    pieces = []
    for block in wanted:
        piece = stored.tensor(block["block"])
        if str(piece.dtype) != f"torch.{entry['dtype']}":
            raise CheckpointError(f"{path} was altered: {block['block']} is {piece.dtype}, not {entry['dtype']}")
        if _digest(piece) != block["sha256"]:
            raise CheckpointError(f"{path} was altered: {block['block']} no longer matches its checksum")
        pieces.append(piece)
    whole = torch.cat(pieces, dim=entry["dim"]) if len(pieces) > 1 else pieces[0]
    if keep is None or keep == wanted[-1]["stop"]:
        return whole
    return whole.narrow(entry["dim"], 0, keep).clone()  # a size of an open axis; the rest of the block is let go


def tensors_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Every tensor of a safetensors file, and the words beside them; raises whatever safetensors does."""
    with safe_open(path, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118 (no mapping)


def names_in(path: Path) -> set[str]:
    """The tensors of a safetensors file, from its header alone. Raises `CheckpointError` if it cannot be read."""
    try:
        with path.open("rb", buffering=0) as stream:
            return _Stored(stream).header.keys() - {"__metadata__"}
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it may be damaged or cut short") from None


def check_names(path: Path, expected: AbstractSet[str]) -> None:
    """Raise `CheckpointError`, naming one, if a safetensors file lacks a tensor or holds one more."""
    given = names_in(path)
    for what, names in (("lacks", expected - given), ("holds an unknown", given - expected)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(f"{path} was altered: it {what} {min(names)}{more}")


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """The content of a tensor of any type, as it lies in memory."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def _digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(raw_bytes(tensor)).hexdigest()
