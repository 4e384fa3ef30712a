"""What there is to see of a sparse autoencoder on some inputs, for the page that `look` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anysize.core.arguments import ROWS, TEXTS, takes, whole
from anysize.core.errors import DataError
from anysize.sparse.autoencoder.decoding import decode_ranks
from anysize.sparse.autoencoder.model import SparseAutoencoder
from anysize.sparse.measuring.errors_of_rows import fvu
from anysize.sparse.measuring.rebuilt import reconstruction
from anysize.sparse.pruning.granularity import granularity_curve
from anysize.sparse.pruning.importance import importance
from anysize.sparse.pruning.powerlaw import PowerLaw, fit_power_law
from anysize.sparse.pruning.prune import sort_by_importance

DENSE = 0.1
"""A latent that fires on more than this share of the inputs is dense."""
_TOP, _BINS, _PARENTS = 10, 24, 4
_SAMPLE = 4000


@dataclass(frozen=True)
class Level:
    """One trained size."""

    size: str
    fvu: float
    cosine: float
    l0: float
    dead: float


@dataclass(frozen=True)
class Parent:
    """A coarser latent that fires where another does."""

    latent: int
    share: float
    """Of the inputs on which the finer one fires, how many it fires on too."""
    base: float
    """Of all inputs, how many it fires on."""
    cosine: float
    """Of the two dictionary rows."""


@dataclass(frozen=True)
class Latent:
    """One latent on these inputs."""

    latent: int
    name: str | None
    similarity: float | None
    accepted: bool
    level: str
    """The smallest trained size that holds it, where latents nest."""
    frequency: float
    energy: float
    largest: float
    rows: tuple[int, ...]
    """The inputs that it fires on most, and how strongly."""
    values: tuple[float, ...]
    histogram: tuple[int, ...]
    """How many activations lie in each of equal bins from 0 to `largest`, zeros left out."""
    parents: tuple[Parent, ...]


@dataclass(frozen=True)
class Looked:
    """Everything that the page shows."""

    title: str
    facts: dict[str, str]
    levels: list[Level]
    levels_on: str
    """The inputs that the levels' figures are of."""
    curves: dict[str, dict[int, float]]
    """Name -> size -> FVU: by latents in two orders, or by how many of the strongest activations are kept."""
    importance: list[float]
    """Mean squared activation of the live latents, falling."""
    law: PowerLaw | None
    latents: list[Latent]
    """The most important ones."""
    count: int
    """How many latents there are."""
    dead: int
    dense: int
    inputs: dict[int, str]
    """The inputs that some latent fires on most: row -> text, or what it is called."""
    frequencies: list[float]


@takes(x=ROWS, inputs=TEXTS, most=whole())
def look(
    sae: SparseAutoencoder,
    x: Any,
    inputs: Sequence[str],
    *,
    title: str = "autoencoder",
    names: dict[int, dict[str, Any]] | None = None,
    most: int = 4096,
    held_out: Any = None,
) -> Looked:
    """
    Look at an autoencoder through rows (n, d), of which `inputs` are the texts or names.

    `names` maps latents to what `anysize concepts` wrote of them. `most` latents are kept, by energy. `held_out` are
    the rows (m, d) to measure the sizes on, where `x` holds what the autoencoder learnt from: figures of rows that it
    has seen flatter it. Raises `DataError` if the counts differ or there are fewer than ten rows.
    """
    if len(x) != len(inputs) or len(x) < 10:
        raise DataError(f"{len(x)} rows and {len(inputs)} inputs; expected one for each, and at least ten")
    codes = sae.encode(np.asarray(x)).to_scipy().tocsc()
    scores = importance(sae, x).numpy()
    fires = np.diff(codes.indptr)
    order = np.argsort(-scores, kind="stable")
    shown = [int(latent) for latent in order[:most] if fires[latent]]
    latents = _latents(sae, codes, shown, scores, names or {})
    rows = sorted({row for latent in latents for row in latent.rows})
    try:
        law = fit_power_law(scores)
    except DataError:  # too few live latents to speak of a law
        law = None
    return Looked(
        title=title,
        facts=_facts(sae, len(x)),
        levels=[_level(sae.at(size), x if held_out is None else held_out) for size in sae.nesting],
        levels_on="these inputs" if held_out is None else f"the {len(held_out):,} inputs that training left out",
        curves=_curves(sae, np.asarray(x[:: max(1, len(x) // _SAMPLE)])),
        importance=[float(score) for score in scores[order] if score > 0],
        law=law,
        latents=latents,
        count=sae.latents,
        dead=int((fires == 0).sum()),
        dense=int((fires > DENSE * len(x)).sum()),
        inputs={row: inputs[row] for row in rows},
        frequencies=(fires[fires > 0] / len(x)).tolist(),
    )


def _facts(sae: SparseAutoencoder, rows: int) -> dict[str, str]:
    about = sae.about
    facts = {
        "method": about.get("method"),
        "activation": sae.activation,
        "latents": f"{sae.latents:,}",
        "width": f"{sae.width:,}",
        "inputs": f"{rows:,}",
        "fitted on": about.get("data", {}).get("name"),
        "encoder": about.get("options", {}).get("model"),
    }
    return {key: str(value) for key, value in facts.items() if value is not None}


def _level(view: SparseAutoencoder, x: Any) -> Level:
    found = reconstruction(view, x)
    return Level(str(view.size), found.fvu, found.cosine, found.l0, found.dead)


def _curves(sae: SparseAutoencoder, x: np.ndarray) -> dict[str, dict[int, float]]:
    """FVU by prefix, as they stand and sorted, and by rank."""
    sizes = [1 << power for power in range(3, 32) if 1 << power < sae.latents] + [sae.latents]
    ordered = sort_by_importance(sae, importance(sae, x)).sae
    found = {}
    for name, one in (("latents, as they stand", sae), ("latents, most important first", ordered)):
        rows = granularity_curve(one, x, sizes, rsa_rows=0)
        found[name] = {row.latents: row.fvu for row in rows}
    codes = sae.encode(x)
    most = max(1, int(codes.counts.max()))  # where all latents are dead, the bias alone is left
    ranks = [1 << power for power in range(0, 32) if 1 << power < most] + [most]
    sums = decode_ranks(codes, sae.W_dec.detach(), ranks)
    found["strongest activations kept"] = {
        k: fvu(x, sae._unstandardize(part + sae.b_dec.detach())) for k, part in zip(ranks, sums, strict=True)
    }
    return found


def _latents(
    sae: SparseAutoencoder, codes: Any, shown: list[int], scores: np.ndarray, names: dict[int, dict[str, Any]]
) -> list[Latent]:
    rows = codes.shape[0]
    fires = np.diff(codes.indptr)
    parents = _parents(sae, codes, shown)
    found = []
    for latent in shown:
        entries = slice(codes.indptr[latent], codes.indptr[latent + 1])
        values, where = codes.data[entries], codes.indices[entries]
        top = np.argsort(-values, kind="stable")[:_TOP]
        largest = float(values.max())
        named = names.get(latent, {})
        found.append(
            Latent(
                latent=latent,
                name=named.get("name"),
                similarity=named.get("similarity"),
                accepted=bool(named.get("accepted", False)),
                level=_home(sae, latent),
                frequency=float(fires[latent] / rows),
                energy=float(scores[latent]),
                largest=largest,
                rows=tuple(int(row) for row in where[top]),
                values=tuple(float(value) for value in values[top]),
                histogram=tuple(np.histogram(values, _BINS, (0, largest))[0].tolist()),
                parents=parents[latent],
            )
        )
    return found


def _home(sae: SparseAutoencoder, latent: int) -> str:
    if "latents" not in sae.nesting.axes:
        return ""
    return str(next(level for level in sae.nesting.values("latents") if latent < level))


def _parents(sae: SparseAutoencoder, codes: Any, shown: list[int]) -> dict[int, tuple[Parent, ...]]:
    """
    For each latent the coarser ones that it refines: those that fire where it does far more often than elsewhere.

    Coarser means of a smaller trained level; where latents do not nest, firing at least twice as often.
    """
    rows, fires = codes.shape[0], np.diff(codes.indptr)
    active = codes.copy()
    active.data = np.ones_like(active.data)
    together = (active.T @ active).tocsr()  # (F, F) inputs on which both fire
    levels = np.array(sae.nesting.values("latents") if "latents" in sae.nesting.axes else (sae.latents,))
    home = np.searchsorted(levels, np.arange(sae.latents), side="right")
    lengths = sae.W_dec[: sae.latents].detach().numpy()
    lengths = lengths / np.maximum(np.linalg.norm(lengths, axis=1, keepdims=True), 1e-12)
    found = {}
    for latent in shown:
        entries = slice(together.indptr[latent], together.indptr[latent + 1])
        others, counts = together.indices[entries], together.data[entries]
        coarser = home[others] < home[latent] if len(levels) > 1 else fires[others] >= 2 * fires[latent]
        others, share = others[coarser], counts[coarser] / fires[latent]
        base = fires[others] / rows
        gain = share - base
        best = [place for place in np.argsort(-gain, kind="stable")[:_PARENTS] if gain[place] > 0.1]
        found[latent] = tuple(
            Parent(int(others[p]), float(share[p]), float(base[p]), float(lengths[latent] @ lengths[others[p]]))
            for p in best
        )
    return found
