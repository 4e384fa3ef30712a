"""``anysize run``: what a model naturally gives, for a text, a file or standard input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from anysize.cli.options import Positional
from anysize.core.printable import printable

if TYPE_CHECKING:
    from anysize.core.verbs.run import Job

_SHOWN = 4
"""Numbers of a vector, and latents of a code, that a person is shown."""


@dataclass
class Run:
    """
    Give each item to a model: vectors, sparse codes, labels with probabilities, or a continuation of the text.

    Without --out a line for each item is printed; with --json an object {"id", "output"} a line.
    """

    model: Annotated[str, Positional("MODEL")]
    """A saved model of any kind."""
    input: Annotated[str, Positional("INPUT")]
    """A text; or a file: .txt with an item a line, or data as `anysize info` reads it (jsonl, csv, parquet, .npy,
    .safetensors, a BEIR folder); or - for a text a line of standard input, as JSON with "text" (and perhaps "id") or
    as it stands."""
    beside: Annotated[list[str], Positional("MORE")] = field(default_factory=list)
    """What belongs to the input as one item: a question after the picture that it is about. To a model that reads
    no such parts, pictures or texts beside each other are several items."""
    size: str | None = None
    """Size to run at, for example dims=64 or layers=3,dims=96, or its name; without it, the model's full size; auto:
    one for each item, as a model of pictures chooses that has learnt to."""
    task: str | None = None
    """Of a model with an adapter per task: the task to run for."""
    side: Literal["query", "document"] | None = None
    """Where in a search the texts stand, to a model that embeds queries and documents differently."""
    out: Annotated[Path | None, "FILE"] = None
    """Write the outputs here instead: vectors to .npy, .npz, .safetensors or .jsonl, codes to the last three, labels
    and texts to .jsonl; spans to .jsonl, or to a folder of brat files. A run that was stopped goes on when the same
    command is given again."""
    batch_size: int | None = None
    """Items at once; more are faster and take more memory."""
    max_new_tokens: int | None = None
    """Of a language model: how many tokens it adds to a text at most (64 unless given)."""
    temperature: float | None = None
    """Of a language model: 0 takes the most probable token (as without it), more draws more freely."""
    seed: int | None = None
    """With a temperature: what is drawn."""
    stop: Annotated[list[str], "WORDS"] = field(default_factory=list)
    """Of a language model: words that end a text."""
    top: int | None = None
    """Of a classifier: how many of the most probable labels (5 unless given); of a coder: codes of each span (1)."""
    before: bool = False
    """Of an edited language model: what the unedited one says too."""
    strict: bool = False
    """Refuse files that cannot be read, in place of leaving them out with a count."""
    llm: Annotated[str | None, "URL"] = None
    """Of a coder: an endpoint in OpenAI's form, such as http://localhost:8000/v1, that chooses among its candidates."""

    def run(self) -> Any:
        """Load, run, and write or tell."""
        from anysize.cli.notes import tell
        from anysize.cli.several import Several
        from anysize.core.files import check_file
        from anysize.core.verbs.run import job

        if self.out is not None and self.out.suffix:
            check_file(self.out)
        named = ("batch_size", "max_new_tokens", "temperature", "seed", "stop", "top", "llm", "before")
        given = {name: getattr(self, name) for name in named}
        options = {name: value for name, value in given.items() if not (value is None or value is False or value == [])}
        running = job(
            self.model, self._items(), size=self.size, task=self.task, side=self.side, strict=self.strict, **options
        )
        tell(running.inputs.notes)
        if self.out is None:
            return Several(_each(running))
        return _written(running, self.out)

    def _items(self) -> Any:
        if self.beside:
            from anysize.core.verbs.inputs import together

            return together([self.input, *self.beside])
        if self.input != "-":
            return self.input
        from anysize.cli.queries import read_queries
        from anysize.core.data.records import Items
        from anysize.core.verbs.inputs import held

        read = read_queries("-", "text")
        return held(Items(read.ids, read.queries), "standard input")


@dataclass(frozen=True)
class Output:
    """What a model gave for one item."""

    id: str
    output: Any
    """As JSON has it."""
    alone: bool
    """Whether it is the only one, which needs no name."""
    took: dict[str, float] = field(default_factory=dict)
    """What the model tells of it: tokens, milliseconds to the first."""

    def text(self) -> str:
        """One line: a text as it is, of numbers the first."""
        found = shown(self.output)
        return found if self.alone else f"{printable(self.id)}  {found}"

    def to_json(self) -> dict[str, Any]:
        """Id, output, and what it took."""
        return {"id": self.id, "output": self.output, **self.took}


@dataclass(frozen=True)
class Written:
    """The outputs are in a file."""

    out: str
    gives: str
    count: int
    before: int
    left_out: int
    seconds: float
    loading: float

    def text(self) -> str:
        """One line."""
        done = f", {self.before:,} of them before" if self.before else ""
        return (
            f"{self.out}: {self.gives} of {self.count:,} items{done}; {_times(self.count, self.seconds, self.loading)}"
        )

    def to_json(self) -> dict[str, Any]:
        """The same, as plain values."""
        times = {"seconds": round(self.seconds, 3), "loading_seconds": round(self.loading, 3)}
        left = {"left_out": self.left_out} if self.left_out else {}
        return {"out": self.out, "gives": self.gives, "count": self.count, "before": self.before, **left, **times}


def shown(output: Any) -> str:
    """An output in one line."""
    if isinstance(output, str):
        return printable(output) if output.strip() else "(nothing: the model ended its text at once)"
    if isinstance(output, dict) and output.keys() == {"edited", "before"}:
        return "\n".join(f"{name}: {shown(output[name])}" for name in ("edited", "before"))
    if isinstance(output, dict) and output.keys() == {"latents", "values"}:
        pairs = sorted(zip(output["values"], output["latents"], strict=True), reverse=True)
        more = " ..." if len(pairs) > _SHOWN else ""
        listed = ", ".join(f"{latent}: {value:.3g}" for value, latent in pairs[:_SHOWN])
        return f"{len(pairs)} active: {listed}{more}" if pairs else "none active"
    if isinstance(output, dict) and "spans" in output:
        return _spans(output)
    if isinstance(output, list) and output and all(isinstance(one, dict) and "label" in one for one in output):
        return printable(", ".join(f"{one['label']} {one['probability']:.3f}" for one in output))
    if isinstance(output, list) and all(isinstance(one, float) for one in output):
        more = " ..." if len(output) > _SHOWN else ""
        return f"{' '.join(f'{one:.4f}' for one in output[:_SHOWN])}{more} ({len(output)} dims)"
    import json

    return printable(json.dumps(output, ensure_ascii=False))


def _spans(output: dict[str, Any]) -> str:
    """A line for each span: its place, what stands there, its code with the score, the code's name, and other codes."""
    lines = []
    for one in output["spans"]:
        more = "".join(f"; {other['code']} {other['score']:.2f}" for other in one.get("others", ()))
        code = "no code" if one["code"] is None else f"{one['code']} {one['score']:.2f} {one['name']}"
        lines.append(f"{one['start']}-{one['end']}  {one['mention']}  ->  {code}{more}")
    return "\n".join(map(printable, lines)) or "no span"


def _each(running: Job) -> Iterator[Output]:
    import sys
    import time

    from anysize.core.model.reported import took, took_in_words
    from anysize.core.verbs.run import each

    begin, ids = time.perf_counter(), running.inputs.items.ids
    told: list[dict[str, float]] = []
    for named, found in each(running):
        told += took(found)
        for name, output, cost in zip(named, running.shape.listed(found), took(found), strict=True):
            yield Output(name, output, len(ids) == 1, cost)
    paid = took_in_words(told)
    sys.stderr.write(f"{paid}{'; ' if paid else ''}{_times(len(ids), time.perf_counter() - begin, running.loading)}\n")


def _written(running: Job, out: Path) -> Written:
    import time

    from anysize.core.verbs.run import write

    begin = time.perf_counter()
    before, left = write(running, out)
    seconds, count = time.perf_counter() - begin, len(running.inputs.items) - left
    return Written(str(out), running.view.gives, count, before, left, seconds, running.loading)


def _times(count: int, seconds: float, loading: float) -> str:
    return f"ran in {seconds:.2f} s ({count / max(seconds, 1e-9):,.0f} a second), after {loading:.2f} s to load"
