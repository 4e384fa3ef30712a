"""
Nested weights on disk: one safetensors entry per increment, so that loading at a size reads only its bytes.

A weight of shape (384, 768) nested in its rows at 8, 64 and 384 is stored as the entries ``weight[0:8]``,
``weight[8:64]`` and ``weight[64:384]``. Each entry has its own SHA-256 in the manifest, so a partial load is also
a verified one. Nothing is ever unpickled or executed.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from anysize.core.errors import CheckpointError

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
        listed = []
        for start, stop in itertools.pairwise((0, *cut.stops)):
            piece = (value.narrow(cut.dim, start, stop - start) if value.dim() else value).contiguous()
            block = f"{name}[{start}:{stop}]"
            blocks[block] = piece.clone()
            listed.append({"block": block, "stop": stop, "bytes": piece.nbytes, "sha256": _digest(piece)})
        entries[name] = {"dim": cut.dim, "dtype": str(value.dtype).removeprefix("torch."), "blocks": listed}
    save_file(blocks, directory / WEIGHTS)
    return entries


def read_blocks(directory: Path, entries: Mapping[str, Any], keep: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """
    Read each tensor up to `keep[name]` along its cut dimension (whole if not named), verifying what is read.

    Raises `CheckpointError` if the file is missing, cut short or altered, or if `keep` is not one of the cuts.
    """
    path = directory / WEIGHTS
    try:
        with safe_open(path, framework="pt") as stored:
            return {name: _read(stored, path, name, entry, keep.get(name)) for name, entry in entries.items()}
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; copy the whole directory again") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); it may be damaged or cut short") from None


def _read(stored: Any, path: Path, name: str, entry: Mapping[str, Any], keep: int | None) -> torch.Tensor:
    wanted = wanted_blocks(name, entry, keep)
    pieces = []
    for block in wanted:
        piece = stored.get_tensor(block["block"])
        if _digest(piece) != block["sha256"]:
            raise CheckpointError(f"{path} was altered: {block['block']} no longer matches its checksum")
        pieces.append(piece)
    return torch.cat(pieces, dim=entry["dim"]) if len(pieces) > 1 else pieces[0].clone()


def wanted_blocks(name: str, entry: Mapping[str, Any], keep: int | None) -> Sequence[Mapping[str, Any]]:
    """The blocks of one tensor that hold its first `keep` slices."""
    blocks = entry["blocks"]
    if keep is None:
        return blocks
    stops = [block["stop"] for block in blocks]
    if keep not in stops:
        raise CheckpointError(f"{name} is stored in blocks that end at {stops}; it cannot be read up to {keep}")
    return blocks[: stops.index(keep) + 1]


def bytes_read(entries: Mapping[str, Any], keep: Mapping[str, int]) -> int:
    """How many bytes of weights `read_blocks` reads for `keep`."""
    return sum(
        block["bytes"] for name, entry in entries.items() for block in wanted_blocks(name, entry, keep.get(name))
    )


def _digest(tensor: torch.Tensor) -> str:
    raw = tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()
