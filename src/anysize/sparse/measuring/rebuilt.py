"""
Measuring autoencoders: how much of the variance a reconstruction explains, with how many active latents.

Variance explained is ``1 - sum |x - x_hat|^2 / sum |x - mean|^2`` over the whole set (one minus FVU). Public tools have
averaged a ratio per sample, or got the denominator wrong; both are other quantities.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anysize.core.arguments import ROWS, as_float32, takes
from anysize.core.data.files.shards import Shards
from anysize.core.errors import DataError
from anysize.sparse.rows.source import Source
from anysize.sparse.rows.stored import is_held_out

if TYPE_CHECKING:
    from pathlib import Path

    from anysize.core.data.data import Data
    from anysize.sparse.autoencoder.model import SparseAutoencoder

_CHUNK = 2048


@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder makes of some rows."""

    fvu: float
    """Fraction of variance unexplained."""
    cosine: float
    """Mean cosine of centred rows and reconstructions (the mean of the rows is taken off both)."""
    l0: float
    dead: float
    """Share of latents that never fire on these rows."""
    units: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)
    """Metric -> a value for each row, whose mean is the metric; of the variance explained pseudo-values of a ratio."""


@takes(rows=ROWS)
@torch.no_grad()
def reconstruction(sae: SparseAutoencoder, rows: Any) -> Reconstruction:
    """
    FVU, cosine, L0 and dead share of an autoencoder's view on rows (n, d), chunk by chunk, in double precision.

    Raises `DataError` if there is but one row or all are the same.
    """
    if not len(rows):
        raise DataError("there are no rows to reconstruct")
    device = sae.b_dec.device
    mean = torch.stack([part.double().sum(0) for part in chunks(rows)]).sum(0).to(device) / len(rows)
    squares = 0.0
    left, spread, cosine, entries = ([] for _ in range(4))
    fired = torch.zeros(sae.latents, dtype=torch.bool, device=device)
    for part in (chunk.to(device) for chunk in chunks(rows)):
        codes = sae.encode(part)
        found, wanted = sae.decode(codes).double() - mean, part.double() - mean
        left.append((found - wanted).square().sum(1).cpu())
        spread.append(wanted.square().sum(1).cpu())
        squares += float(part.double().square().sum())
        cosine.append(torch.nn.functional.cosine_similarity(found, wanted, dim=1).cpu())
        entries.append(codes.counts.double().cpu())
        fired[codes.indices] = True
    errors, around, alike, l0 = (torch.cat(values).numpy() for values in (left, spread, cosine, entries))
    if not around.sum() > 1e-12 * squares:
        raise DataError(f"all of {len(rows)} rows to rebuild are the same, so there is no variance to explain")
    fvu = float(errors.sum() / around.sum())
    explained = 1 - fvu - (errors - fvu * around) / around.mean()
    return Reconstruction(
        fvu=fvu,
        cosine=float(alike.mean()),
        l0=float(l0.mean()),
        dead=float((~fired).double().mean()),
        units={"variance_explained": explained, "cosine": alike, "l0": l0},
    )


def rows_of(sae: SparseAutoencoder, data: Data, folder: Path) -> Any:
    """The rows of `data` that this autoencoder reads: its vectors, or its texts through the model it was fitted on."""
    source = _source(sae, data)
    return source.of(data, (sae.kept_in if source.model is not None else None) or folder)


@dataclass(frozen=True)
class Split:
    """Rows, and which of them training leaves out."""

    rows: Any
    held: np.ndarray
    """(n,) bool."""


def split_of(sae: SparseAutoencoder, data: Data, folder: Path) -> Split:
    """The rows of `data`, and which of them training on it leaves out: single ones, or if streamed groups of texts."""
    source = _source(sae, data)
    if not source.stream:
        rows = rows_of(sae, data, folder)
        return Split(rows, is_held_out(np.arange(len(rows)), len(rows)))
    groups = source.groups(data)
    seen, held = (source.rows(groups.texts_of(held=part), folder / str(part)) for part in (False, True))
    rows = Shards([*_parts(seen), *_parts(held)])
    return Split(rows, np.arange(len(rows)) >= len(seen))


def _source(sae: SparseAutoencoder, data: Data) -> Source:
    return Source() if data.items().vectors is not None else sae.source


def _parts(rows: Any) -> list[np.ndarray]:
    return rows.parts if isinstance(rows, Shards) else [rows]


def chunks(rows: Any) -> Iterator[torch.Tensor]:
    """Rows a few thousand at a time, as float32 tensors."""
    for start in range(0, len(rows), _CHUNK):
        yield torch.from_numpy(as_float32(rows[start : start + _CHUNK]))
