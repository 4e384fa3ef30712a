"""``anysize measure``: the frontier of a model on the reader's own data."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from anysize.cli.options import Positional

if TYPE_CHECKING:
    from anysize.core.frontier.frontier import Frontier


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
    sizes: str | None = None
    """Only these, by name or as they are typed: 64,128 or, of a model with several axes, 2:24,4:96."""
    arms: tuple[str, ...] | None = None
    """Rivals to measure beside it, in place of the usual ones of its kind; `--arms list` names those there are."""
    by: str | None = None
    """What to measure, where the data suffice for several things; `--by list` names what there is for this model, and
    with the name of one --help shows its own options too."""
    task: str | None = None
    """Of a model with an adapter per task: the task to embed every text for, in place of the one that the data is for
    (retrieval for pairs and judgements, else text-matching)."""
    identical: Literal["drop", "ids", "keep"] = "drop"
    """A document that is the query itself: drop it from that ranking, unless judged relevant; go by ids alone, as BEIR
    does; or keep it, as trec_eval does."""
    strict: bool = False
    """Refuse files that cannot be read, in place of leaving them out with a count."""
    within: str | None = None
    """Mark the cheapest size that loses at most this much: 1% unless given, of a metric in dB 0.5dB."""
    json: Path | None = None
    """Write the frontier here as JSON; without a file, print it and nothing else."""
    html: Path | None = None
    """Write a page to look at here."""
    png: Path | None = None
    """Write a picture here."""
    options: ClassVar[Any] = None
    """The evaluator, where `command` makes it a field of its own kind."""

    def run(self) -> Measured:
        """Measure, write what was asked for, and leave the frontier beside the model for `choose`."""
        from anysize.cli.notes import read_told, tell
        from anysize.core.digests import signed
        from anysize.core.errors import AnysizeError
        from anysize.core.files import README, as_json, check_file, theirs, write_together
        from anysize.core.frontier.page import page
        from anysize.core.frontier.plot import drawn
        from anysize.core.frontier.tolerance import tolerance, usual
        from anysize.core.model.manifest import MANIFEST
        from anysize.core.verbs.card import model_card
        from anysize.core.verbs.load import load
        from anysize.core.verbs.measure import measure
        from anysize.core.verbs.panels import panels

        within = None if self.within is None else tolerance(self.within)
        folder = Path(self.model)
        beside = folder / "frontier.json"
        for file in (self.json, self.html, self.png, beside if folder.is_dir() else None):
            if file is not None:
                check_file(file)
        if self.png is not None and self.png.suffix.lower() not in PICTURES:
            raise AnysizeError(f"cannot draw {self.png}: name a file that ends in {', '.join(PICTURES)}")
        model = load(self.model).for_task(self.task)
        sizes = model.nesting.resolve_all(self.sizes)
        data = read_told(self.data, model.reader)
        more = {} if self.options is None else vars(self.options)
        frontier = measure(
            model, data, arms=self.arms, sizes=sizes, by=self.by, identical=self.identical, strict=self.strict, **more
        )
        within = usual(frontier.metric) if within is None else within
        tell(note for note in frontier.meta.get("notes", ()) if note not in data.notes)
        files = {beside: as_json(signed(frontier.to_json()))}
        if self.json:
            files[self.json] = files[beside]
        if self.html:
            files[self.html] = page(frontier, panels(model, data, frontier)).encode()
        if self.png:
            files[self.png] = drawn(frontier, self.png, chosen=frontier.cheapest(within=within).size)
        card = {}
        if (folder / MANIFEST).is_file() and theirs(folder) is None:
            card[folder / README] = model_card(folder.name, model, frontier)
        write_together({**files, **card})
        return Measured(self.model, frontier, within, [file for file in files if file != beside])


def command(words: Sequence[str]) -> type[Measure]:
    """The verb's dataclass, with the fields of the evaluator that `words` name beside its own."""
    from anysize.cli.parsing import asks_help, value_of
    from anysize.core.registry import find

    name = value_of("--by", words)
    if name is None or name == "list":  # what a model is measured by is told once it is known
        return Measure
    evaluator = find("evaluators", name)
    if not is_dataclass(evaluator):
        return Measure
    kind: Any = evaluator
    options: Any = field(default_factory=kind, metadata={"options": (name, kind)})
    made = make_dataclass("Measure", [("options", kind, options)], bases=(Measure,), kw_only=True)
    if asks_help(words):
        said = inspect.cleandoc(evaluator.__doc__ or "")
        made.__doc__ = f"{inspect.cleandoc(Measure.__doc__ or '')}\n\n{name}: {said}"
    return made


@dataclass(frozen=True)
class Measured:
    """The frontier, and the files that show it."""

    model: str
    frontier: Frontier
    within: float
    written: list[Path]

    def text(self) -> str:
        """The table, what it was measured on, and the next command."""
        from anysize.core.frontier.tolerance import tolerated

        lines = [
            f"{self.frontier.meta['task']}, {self.frontier.metric}",
            self.frontier.table(within=self.within),
        ]
        lines += [f"wrote {file}" for file in self.written]
        return "\n".join(
            [*lines, f"next: anysize choose {self.model} --within {tolerated(self.within).replace(' ', '')}"]
        )

    def to_json(self) -> dict[str, Any]:
        """All records, and what to know before trusting them."""
        return {**self.frontier.to_json(), "notes": list(self.frontier.meta.get("notes", ()))}
