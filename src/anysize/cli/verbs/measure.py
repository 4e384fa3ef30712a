"""``anysize measure``: the frontier of a model on the reader's own data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.sizes.nesting import Nesting
    from anysize.core.sizes.size import Size


PICTURES = (".png", ".svg", ".pdf")


@dataclass
class Measure:
    """
    Measure quality and cost at every size, beside rivals and the untouched original model.

    With judgements or pairs: retrieval. With scored pairs: correlation with the scores. With texts or vectors alone:
    how many of each item's nearest neighbours a size keeps. If the model was trained on this data, only what training
    left out is used.
    """

    model: Annotated[str, Positional("MODEL")]
    """A model that `anysize fit` wrote."""
    data: Annotated[str, Positional("DATA")]
    """What to measure on; the same kinds as for fit."""
    dims: tuple[int, ...] | None = None
    """Only these sizes."""
    sizes: tuple[str, ...] | None = None
    """Only these, by name or as a menu in the order of the model's axes: 2:24,4:96."""
    arms: tuple[str, ...] | None = None
    """Rivals to measure beside it. Embeddings: truncate,pca (the default), single (trains a model per size: takes
    longer). Quantised models: minmax (the default), sliced, single. Sparse autoencoders: batchtopk, topk, jumprelu,
    sorted, pruned, single; where codes are searched also truncate,pca (the default), vectors of as many dims as are
    active, and truncate-bytes,pca-bytes, of as many bytes."""
    by: str | None = None
    """What to measure, where the data suffice for several things. Sparse autoencoders: reconstruction (the default,
    but for csr), sparse-retrieval (the default of csr, where documents are judged), sparse-accuracy (with labels)."""
    task: str | None = None
    """Of a model with an adapter per task: the task to embed every text for, in place of the one that the data is for
    (retrieval for pairs and judgements, else text-matching)."""
    identical: Literal["drop", "ids", "keep"] = "drop"
    """A document that is the query itself: drop it from that ranking, unless judged relevant; go by ids alone, as BEIR
    does; or keep it, as trec_eval does."""
    within: str = "1%"
    """Mark the cheapest size that loses at most this much."""
    json: Path | None = None
    """Write the frontier here as JSON; without a file, print it and nothing else."""
    html: Path | None = None
    """Write a page to look at here."""
    png: Path | None = None
    """Write a picture here."""

    def run(self) -> Measured:
        """Measure, write what was asked for, and leave the frontier beside the model for `choose`."""
        from anysize.cli.notes import read_told, tell
        from anysize.cli.verbs.choose import fraction
        from anysize.core.digests import signed
        from anysize.core.errors import AnysizeError
        from anysize.core.files import as_json, check_file, write_together
        from anysize.core.frontier.page import page
        from anysize.core.frontier.plot import drawn
        from anysize.core.verbs.load import load
        from anysize.core.verbs.measure import measure

        within = fraction(self.within)
        beside = Path(self.model) / "frontier.json"
        for file in (self.json, self.html, self.png, beside if Path(self.model).is_dir() else None):
            if file is not None:
                check_file(file)
        if self.png is not None and self.png.suffix.lower() not in PICTURES:
            raise AnysizeError(f"cannot draw {self.png}: name a file that ends in {', '.join(PICTURES)}")
        model = load(self.model).for_task(self.task)
        sizes = self._sizes(model.nesting)
        data = read_told(self.data)
        frontier = measure(model, data, arms=self.arms, sizes=sizes, by=self.by, identical=self.identical)
        tell(note for note in frontier.meta.get("notes", ()) if note not in data.notes)
        files = {beside: as_json(signed(frontier.to_json()))}
        if self.json:
            files[self.json] = files[beside]
        if self.html:
            files[self.html] = page(frontier).encode()
        if self.png:
            files[self.png] = drawn(frontier, self.png, chosen=frontier.cheapest(within=within).size)
        write_together(files)
        return Measured(self.model, frontier, within, [file for file in files if file != beside])

    def _sizes(self, nesting: Nesting) -> list[Size] | None:
        """The sizes asked for, or None for all."""
        from anysize.core.errors import SizeError
        from anysize.core.sizes.menu import menu

        if self.dims is not None and "dims" not in nesting.axes:
            raise SizeError(f"--dims: {self.model} is nested in {', '.join(nesting.axes)}; give --sizes")
        if self.sizes is None:
            return None if self.dims is None else [size for size in nesting if size.dims in _known(nesting, self.dims)]
        if self.dims is not None:
            raise SizeError("give either --dims or --sizes; not both")
        return [
            nesting.resolve(entry)
            if entry in (nesting.names or ())
            else nesting.resolve(menu([entry], nesting.axes)[0])
            for entry in self.sizes
        ]


def _known(nesting: Nesting, dims: tuple[int, ...]) -> tuple[int, ...]:
    """The widths as they are; `SizeError` if the model was not trained for one."""
    for width in dims:
        if width not in nesting.levels("dims"):
            nesting.resolve(dims=width)
    return dims


@dataclass(frozen=True)
class Measured:
    """The frontier, and the files that show it."""

    model: str
    frontier: Frontier
    within: float
    written: list[Path]

    def text(self) -> str:
        """The table, what it was measured on, and the next command."""
        lines = [
            f"{self.frontier.meta['task']}, {self.frontier.metric}",
            self.frontier.table(within=self.within),
        ]
        lines += [f"wrote {file}" for file in self.written]
        return "\n".join([*lines, f"next: anysize choose {self.model} --within {100 * self.within:g}%"])

    def to_json(self) -> dict[str, Any]:
        """All records, and what to know before trusting them."""
        return {**self.frontier.to_json(), "notes": list(self.frontier.meta.get("notes", ()))}
