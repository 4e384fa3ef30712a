"""``anysize prune``: a trained autoencoder sorted by importance and cut, without training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.sparse import SparseAutoencoder


_MOST = 1 << 20
"""Rows that importance is measured on, at most."""


@dataclass
class Prune:
    """
    Keep the most important latents of a sparse autoencoder, as a smaller one in the layout of SAELens.

    SAE may be one that `anysize fit` wrote, or of SAELens, dictionary_learning or sparsify. Importance is measured on
    all but a tenth of DATA, and the result on that tenth.
    """

    sae: Annotated[str, Positional("SAE")]
    """A sparse autoencoder."""
    data: Annotated[str, Positional("DATA")]
    """Vectors that it reads, .npy or .safetensors; or texts, if it was fitted on texts."""
    latents: tuple[int, ...]
    """How many to keep; several numbers make an autoencoder that can be cut at each, and all of them only sort it."""
    out: Annotated[str, "PATH"]
    """Where to write it."""
    by: Literal["energy", "frequency", "contribution", "greedy"] = "energy"
    """What makes a latent important: mean squared activation, how often it fires, what is lost without it alone, or
    the order in which latents most reduce the error."""
    active: float | None = None
    """Active latents per row for codes that go by a threshold; as many as before unless given."""
    no_bias: bool = False
    """Leave the bias as it is; else it takes over what the dropped latents gave on average."""

    def run(self) -> WasPruned:
        """Measure importance, cut, write, and measure what was kept."""
        from pathlib import Path

        import numpy as np

        from anysize.cli.notes import read_told, tell
        from anysize.core.files import README, check_replaceable, in_one_step
        from anysize.core.frontier.frontier import Frontier
        from anysize.core.frontier.record import Record
        from anysize.core.frontier.records import NESTED
        from anysize.core.model.exporting import EXPORT
        from anysize.core.scratch import temporary_folder
        from anysize.core.verbs.card import card, kept
        from anysize.sparse.formats import saelens
        from anysize.sparse.measuring.rebuilt import reconstruction, split_of
        from anysize.sparse.pruning.prune import prune

        check_replaceable(Path(self.out), EXPORT)
        sae = autoencoder(self.sae)
        with temporary_folder() as scratch:
            data = read_told(self.data)
            split = split_of(sae, data, scratch)
            chosen = np.flatnonzero(~split.held)
            train, rest = split.rows[chosen[:: 1 + len(chosen) // _MOST]], split.rows[np.flatnonzero(split.held)]
            done = prune(sae, self.latents, train, by=self.by, active=self.active, refit_bias=not self.no_bias)
        sizes = [(level, done.sae.at(latents=level)) for level in self.latents]
        records = [(n, reconstruction(view, rest)) for n, view in [(sae.latents, sae), *sizes]]
        metric = "variance_explained"
        figures = [
            Record(view.size, NESTED, {metric: 1 - found.fvu}, view.cost().bytes)
            for (_, view), (_, found) in zip(sizes, records[1:], strict=True)
        ]
        frontier = Frontier(tuple(figures), metric=metric, meta={"data": data.name})
        target = Path(self.out)
        tell(kept(target))
        with in_one_step(target.absolute()) as folder:
            made = saelens.write(done.sae, folder)
            made = replace(made, how=made.how.replace(str(folder), self.out))
            what = f"The {max(self.latents)} most important of the {sae.latents} latents of a sparse autoencoder."
            (folder / README).write_bytes(card(target.name, what, made, done.sae.about, frontier))
        return WasPruned(self.out, [Kept(n, found.fvu, found.l0) for n, found in records])


def autoencoder(path: str) -> SparseAutoencoder:
    """The sparse autoencoder at a path. Raises `AnysizeError` if another model is there."""
    from anysize.core.errors import AnysizeError
    from anysize.core.verbs.load import load
    from anysize.sparse import SparseAutoencoder

    found = load(path)
    if not isinstance(found, SparseAutoencoder):
        raise AnysizeError(f"{path} is a model of kind {found.kind!r}; expected a sparse autoencoder")
    return found


@dataclass(frozen=True)
class Kept:
    """One size on held-out rows."""

    latents: int
    fvu: float
    l0: float


@dataclass(frozen=True)
class WasPruned:
    """What was written, and what it costs."""

    out: str
    sizes: list[Kept]
    """The whole autoencoder first, then what was kept."""

    def text(self) -> str:
        """A line for each size."""
        lines = [f"{self.out}: in the layout of SAELens; on held-out rows"]
        for row in self.sizes:
            lines.append(f"  {row.latents:>7} latents   FVU {row.fvu:.4f}   {row.l0:.1f} active")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Place and sizes."""
        return {"out": self.out, "sizes": [vars(row) for row in self.sizes]}
