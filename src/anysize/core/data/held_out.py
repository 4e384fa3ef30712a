"""Which texts are kept back from training to measure by: chosen by their content, so that all readers agree."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.data.files.media import File, sha256_of
from anysize.core.errors import DataError


def held_out(texts: Iterable[str], name: str, kind: str) -> frozenset[str]:
    """
    A tenth of the distinct texts, at least one, chosen by a hash of each, whatever the order and the other texts.

    Raises `DataError`, calling the texts `kind` and the data `name`, if there is one distinct text, since then
    nothing is left to train on.
    """
    ranked = sorted(set(texts), key=lambda text: (stable_hash(text), text))
    if len(ranked) < 2:
        raise DataError(f"{name} has one distinct {kind}; give at least two, so that one can be held out")
    count = sum(stable_hash(text) < 2**64 // 10 for text in ranked)
    return frozenset(ranked[: min(max(count, 1), len(ranked) - 1)])


def stable_hash(text: str) -> int:
    """A number below 2**64 that is the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def key_of(cell: Any) -> str:
    """A text that tells a cell from others: a text itself, what a file or picture holds, of a list of parts theirs."""
    return cell if isinstance(cell, str) else json.dumps(cell, sort_keys=True, ensure_ascii=False, default=_name)


def _name(cell: Any) -> str:
    if isinstance(cell, bytes):
        return hashlib.sha256(cell).hexdigest()
    if isinstance(cell, os.PathLike):  # never by its name, which other pictures may have in other folders
        return cell.sha256 if isinstance(cell, File) else sha256_of(Path(cell))
    held = np.asarray(cell)  # of an array or a Pillow picture its numbers: as words these are abbreviated
    if held.dtype.kind not in "biufc":
        return str(cell)
    return hashlib.sha256(f"{held.shape} {held.dtype} ".encode() + held.tobytes()).hexdigest()
