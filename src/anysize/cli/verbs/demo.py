"""``anysize demo``: the whole job on real text that every machine has, offline, in a few minutes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.frontier.record import Record
    from anysize.search import Index

MODEL = "all-MiniLM-L6-v2"
QUESTIONS = (
    "run a function after a delay",
    "remove duplicate rows from a table",
    "split a dataset into training and test parts",
)


@dataclass
class Demo:
    """
    Fit, measure, choose, index and search the documentation strings of the packages installed here.

    A docstring's first line asks, its description answers. Nothing is downloaded: the encoder is the packaged
    all-MiniLM-L6-v2 of the `demo` extra.
    """

    out: Path = Path("demo")
    """Where to leave the corpus, the model, the frontier and the index."""
    limit: int = 6000
    """How many documented functions and classes to use; fewer is faster."""
    seed: int = 0
    """Seed of the training."""

    def run(self) -> Shown:
        """Do it all, telling each step as it begins."""
        from anysize.backbones.sentence import supports_bf16
        from anysize.cli.notes import read_told, tell
        from anysize.core.errors import AnysizeError
        from anysize.core.files import check_replaceable, new_directory
        from anysize.core.model.exporting import EXPORT, write_note
        from anysize.core.verbs.fit import fit
        from anysize.core.verbs.measure import measure
        from anysize.search import Index
        from anysize.text.docstrings import collect, write_beir
        from anysize.text.embedder.method import MRL

        if self.limit < 200:
            raise AnysizeError(f"the demo needs at least 200 documented functions; --limit is {self.limit}")
        started = time.perf_counter()
        corpus, model_dir, index_dir = self.out / "corpus", self.out / "model", self.out / "index"
        check_replaceable(corpus, EXPORT)
        _tell("1/5  reading the documentation strings of the packages installed here")
        items = collect(self.limit)
        with new_directory(corpus, marker=EXPORT) as folder:
            write_beir(items, folder, held_out=min(1500, len(items) // 4))
            write_note(folder, "beir")
        bf16 = supports_bf16()
        _tell(f"2/5  fit: {len(items)} descriptions, {MODEL}{' in bfloat16' if bf16 else ''}, a nested head")
        data = read_told(str(corpus))
        model: Any = fit(data, method=MRL(model=MODEL, bf16=bf16, seed=self.seed), out=model_dir, resume=False)
        _tell("3/5  measure: every size on held-out questions, beside plain truncation and PCA")
        frontier = measure(model, data)
        tell(note for note in frontier.meta.get("notes", ()) if note not in data.notes)
        small, equal = frontier.cheapest(within=0.01), frontier.cheapest(as_good_as="original")
        frontier.to_json(model_dir / "frontier.json")
        frontier.plot(self.out / "frontier.png", chosen=equal.size)
        frontier.to_html(self.out / "frontier.html")
        _tell(f"4/5  index: {len(items)} descriptions, each vector stored once")
        index = Index.build(index_dir, model, data.items(), model_path=model_dir)
        _tell("5/5  search")
        answers = [index.search(question, k=3) for question in QUESTIONS]
        return Shown(self.out, frontier, small, equal, answers, index, time.perf_counter() - started)


@dataclass(frozen=True)
class Shown:
    """What the demo found."""

    out: Path
    frontier: Frontier
    small: Record
    equal: Record
    answers: list[Any]
    index: Index
    seconds: float

    def text(self) -> str:
        """The frontier, the choice, a few answers, and what to type next."""
        full, original = self.frontier.full(), self.frontier.full("original")
        metric, out = self.frontier.metric, self.out
        saved = 100 - 100 * self.equal.bytes / original.bytes
        lines = [
            "",
            self.frontier.meta["task"],
            self.frontier.table(within=0.01),
            "",
            f"Cheapest within 1 % of the full size: {self.small.size} ({self.small.bytes} bytes a vector, "
            f"{metric} {self.small.metrics[metric]:.3f} of {full.metrics[metric]:.3f}).",
            f"As good as the untouched model: {self.equal.size}, {metric} {self.equal.metrics[metric]:.3f} against "
            f"{original.metrics[metric]:.3f}, with {saved:.0f} % fewer bytes.",
        ]
        for question, found in zip(QUESTIONS, self.answers, strict=True):
            stages = " -> ".join(str(stage.dims) for stage in found.stages)
            lines += ["", f'"{question}"   {found.ms:.1f} ms, {found.bytes_read / 1000:.0f} kB read, dims {stages}']
            lines += [f"  {hit.score:.2f}  {(hit.text or '')[:96]}" for hit in found.hits]
        lines += [
            "",
            f"Done in {self.seconds:.0f} s. Look at {out / 'frontier.html'} or {out / 'frontier.png'}.",
            f'Ask more:        anysize search {out / "index"} "parse a date"',
            f"Now your data:   anysize fit MY_TEXTS.jsonl --model {MODEL} --out mine",
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "frontier": self.frontier.to_json(),
            "within 1%": self.small.to_json(),
            "as good as original": self.equal.to_json(),
            "answers": [
                {"query": question, **found.to_json()} for question, found in zip(QUESTIONS, self.answers, strict=True)
            ],
            "seconds": round(self.seconds, 1),
        }


def _tell(step: str) -> None:
    sys.stderr.write(step + "\n")
    sys.stderr.flush()
