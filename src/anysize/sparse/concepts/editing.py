"""
Searching, editing and questioning embeddings by their concepts (MSAE, Zaigrajew et al. 2025, arXiv 2502.20578, 6-7).

A concept is a latent. Setting one moves the vector along its dictionary row and leaves the rest, also what the
autoencoder could not rebuild, as it was: ``x' = x + (value - z_f) W_f / s``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from anysize.core.arguments import FINITE_ROWS, MAPPING, VECTOR, expect, many, takes, whole
from anysize.core.errors import AnysizeError, DataError
from anysize.evaluation.nearest import rank
from anysize.sparse.autoencoder.codes import Codes
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.measuring.probing import Probe


@dataclass(frozen=True)
class Shared:
    """A concept that a query and a hit have in common."""

    latent: int
    share: float
    """Its part of the similarity of the two codes."""


@dataclass(frozen=True)
class ConceptHit:
    """A row found by the likeness of its code, and why."""

    row: int
    similarity: float
    """Cosine of the codes, or of what they hold of the chosen concepts."""
    shared: tuple[Shared, ...]
    """The concepts that make most of it, the largest part first."""


@takes(query=VECTOR | FINITE_ROWS, corpus=FINITE_ROWS, k=whole(), explain=whole())
def concept_search(
    sae: SparseAutoencoder,
    query: np.ndarray,
    corpus: np.ndarray,
    *,
    concepts: Sequence[int] | None = None,
    k: int = 10,
    explain: int = 5,
) -> list[ConceptHit]:
    """
    The `k` rows of `corpus` (n, d) whose codes are most like that of `query` (d,), over `concepts` alone if given.

    Rows of which no chosen concept is active are left out. Raises `AnysizeError` for a concept that there is not.
    """
    _known(sae, concepts or ())
    one, many = (_chosen(sae.encode(np.atleast_2d(part)), concepts).to_scipy() for part in (query, corpus))
    lengths = np.sqrt(np.asarray(many.multiply(many).sum(axis=1)).ravel()) * np.sqrt((one.data**2).sum())
    scores = (many @ one.T).toarray().ravel() / np.maximum(lengths, np.finfo(np.float32).tiny)
    best = [int(row) for row in np.argsort(-scores, kind="stable")[:k] if scores[row] > 0]
    found = []
    for row in best:
        parts = many[[row]].multiply(one).tocoo()
        total, order = float(parts.data.sum()), np.argsort(-parts.data, kind="stable")[:explain]
        why = tuple(Shared(int(parts.col[place]), float(parts.data[place]) / total) for place in order)
        found.append(ConceptHit(row, float(scores[row]), why))
    return found


@takes(x=FINITE_ROWS, values=MAPPING)
@torch.no_grad()
def edit(
    sae: SparseAutoencoder,
    x: np.ndarray,
    values: Mapping[int, float],
    *,
    keep_error: bool = True,
    unit: bool = False,
) -> np.ndarray:
    """
    Vectors (n, d) with latents set to `values`, in the units of the codes.

    `keep_error` moves the vectors themselves; without it, the edited codes are decoded and what they do not hold is
    lost. `unit` brings the result to length 1. Raises `AnysizeError` for a latent that there is not.
    """
    _known(sae, values)
    latents = list(values)
    codes = sae.encode(x)
    dense = codes.dense()[:, latents]  # (n, edited)
    change = torch.tensor([values[latent] for latent in latents], dtype=torch.float32) - dense
    start = torch.as_tensor(np.array(x, np.float32)) if keep_error else sae.decode(codes)
    moved = start + change @ sae.W_dec[latents] / sae.scale
    return (torch.nn.functional.normalize(moved, dim=1) if unit else moved).numpy()


@dataclass(frozen=True)
class NeighbourChange:
    """What an edit did to the nearest rows of a corpus."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def came(self) -> tuple[int, ...]:
        """Rows that were not near before."""
        return tuple(row for row in self.after if row not in self.before)


@takes(query=VECTOR | FINITE_ROWS, corpus=FINITE_ROWS, values=MAPPING, k=whole())
def neighbours_after(
    sae: SparseAutoencoder, query: np.ndarray, corpus: np.ndarray, values: Mapping[int, float], *, k: int = 10
) -> NeighbourChange:
    """The `k` nearest rows of `corpus` by cosine before and after an edit of `query` (d,)."""
    from anysize.evaluation.nearest import unit

    edited = edit(sae, np.atleast_2d(query), values, unit=True)
    near = [rank(unit(part), unit(corpus), k)[0][0] for part in (np.atleast_2d(query), edited)]
    return NeighbourChange(*(tuple(int(row) for row in rows) for rows in near))


@dataclass(frozen=True)
class Effect:
    """How one concept bears on one class of a probe."""

    latent: int
    correlation: float
    """Pearson's, of the activation with the probability of the class, over all rows; 0 for one that never fires."""
    curve: dict[float, float]
    """Value that the concept was set to, in units of its mean activation where it fires -> mean change of the
    probability."""


def bias(
    sae: SparseAutoencoder,
    x: np.ndarray,
    probe: Probe,
    target: object,
    latents: Sequence[int],
    *,
    magnitudes: Sequence[float] = (0.0, 1.0, 2.0, 4.0),
) -> list[Effect]:
    """
    Probe, intervene, measure: how the probability of class `target` goes with each concept, and moves when it is set.

    Only the concept moves (the reconstruction error is kept), so the change is its own. The strongest come first.
    Raises `AnysizeError` for a class or latent that there is not.
    """
    _known(sae, latents)
    if target not in probe.classes:
        raise AnysizeError(f"the probe knows no class {target!r}; it knows {', '.join(map(str, probe.classes))}")
    column = int(np.flatnonzero(probe.classes == target)[0])
    held = sae.encode(x).to_scipy().tocsc()
    before = probe.logits(x)[:, column].exp()
    found = []
    for latent in latents:
        active = np.asarray(held[:, [latent]].todense()).ravel()
        size = float(active[active > 0].mean()) if active.any() else 0.0
        curve = {}
        for magnitude in magnitudes:
            after = probe.logits(edit(sae, x, {latent: magnitude * size}))[:, column].exp()
            curve[float(magnitude)] = float((after - before).mean())
        varies = active.std() > 0 and float(before.std()) > 0
        correlation = float(np.corrcoef(active, before.numpy())[0, 1]) if varies else 0.0
        found.append(Effect(latent, correlation, curve))
    return sorted(found, key=lambda effect: -max(abs(change) for change in effect.curve.values()))


def _chosen(codes: Codes, concepts: Sequence[int] | None) -> Codes:
    if concepts is None:
        return codes
    keep = torch.isin(codes.indices, torch.tensor(list(concepts)))
    return Codes.of_entries(codes.rows[keep], codes.indices[keep], codes.values[keep], len(codes), codes.width)


def _known(sae: SparseAutoencoder, latents: Sequence[int] | Mapping[int, float]) -> None:
    expect(list(latents), many(whole(0), "numbers of latents"), "the concepts")
    for latent in latents:
        if not 0 <= latent < sae.latents:
            raise AnysizeError(f"there is no latent {latent}; they run from 0 to {sae.latents - 1}")
    if not len(latents) and isinstance(latents, Mapping):
        raise DataError("an edit sets at least one latent; none was given")
