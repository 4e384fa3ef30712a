"""Run: what a model naturally gives, for one item or for millions; a run that was killed goes on where it stopped."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.arguments import FLAG, PATH, takes
from anysize.core.digests import is_sealed, write_sealed
from anysize.core.errors import AnysizeError, DataError, UnreadableError, nearest
from anysize.core.files import check_file, check_replaceable, lock, new_directory, read_object, write_json
from anysize.core.model.exporting import EXPORT, write_note
from anysize.core.model.faces import ReadsTexts
from anysize.core.model.reported import took
from anysize.core.progress import bar
from anysize.core.registry import named
from anysize.core.scratch import discard, sweep
from anysize.core.verbs import left_out
from anysize.core.verbs.inputs import Inputs, apart, check_reads, inputs_of
from anysize.core.verbs.load import load
from anysize.core.verbs.outputs import Values, form_of, shape_of, write_chunks
from anysize.core.verbs.unfinished import LOCK, RUN, check_ours, workdir_of

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel
    from anysize.core.sides import Side
    from anysize.core.sizes.size import Size

AUTO = "auto"
"""In place of a size: one for each item, as the model chooses."""

STEP, SLOW, FAST = 1024, 32, 16384
"""Items between two moments at which what is done is kept: texts, texts that are gone on with, and vectors."""


@dataclass(frozen=True)
class Ran:
    """What a model gave for `count` items: `outputs`, or a file that holds them."""

    gives: str
    count: int
    outputs: Any
    """As `NestedModel.run` gives them, one for each item; None where they were written."""
    seconds: float
    loading: float
    """Seconds that loading took, which `seconds` leave out."""
    before: int = 0
    """How many of the items an earlier, unfinished run had done."""
    took: list[dict[str, float]] = field(default_factory=list)
    """What each of `outputs` took, where the model tells: tokens, milliseconds to the first."""


@dataclass(frozen=True)
class Job:
    """A model at its size, what it is to run on, and how: made by `job`, run in parts by `each`."""

    view: NestedModel
    inputs: Inputs
    side: Side | None
    options: dict[str, Any]
    loading: float = 0.0
    strict: bool = False
    """Whether files that cannot be read end the run, in place of being left out."""
    shape: Values = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", shape_of(self.view.gives))

    @property
    def step(self) -> int:
        """Items of a part."""
        if self.view.gives in ("text", "next tokens"):
            return SLOW
        return FAST if self.inputs.of == "vector" else STEP

    def parts(self) -> list[slice]:
        """All items, so many at a time."""
        count = len(self.inputs.items)
        return [slice(start, min(count, start + self.step)) for start in range(0, count, self.step)]

    def made(self, part: slice) -> Any:
        """The outputs of one part. Raises `AnysizeError` if they are not one for each item."""
        return self._made(self.inputs.items.rows[part])

    def readable(self, part: slice) -> tuple[Any, dict[int, DataError]]:
        """The outputs of those items of a part that can be read, and what is wrong with the others, by place in all."""
        rows = self.inputs.items.rows[part]
        try:
            return self._made(rows), {}
        except UnreadableError as error:
            if self.strict or len(self.inputs.items) == 1:
                raise
            broken = error.errors
        found = self._made([row for place, row in enumerate(rows) if place not in broken])
        return found, {part.start + place: one for place, one in broken.items()}

    def _made(self, rows: Any) -> Any:
        found = self.view.run(rows, side=self.side, **self.options)
        if len(found) != len(rows):
            raise AnysizeError(f"the model gave {len(found)} outputs for {len(rows)} items")
        return found

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        model = {"kind": self.view.kind, "fingerprint": self.view.fingerprint}
        how = {
            "size": AUTO if self.view.chooses else str(self.view.size),
            "task": self.view.task,
            "side": self.side,
            **self.options,
        }
        return {"model": model, "size, task, side or option": how, "input": self.inputs.fingerprint, "step": self.step}


def job(
    model: NestedModel | str | os.PathLike[str],
    items: Any,
    *,
    size: Size | str | None = None,
    task: str | None = None,
    side: Side | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    **options: Any,
) -> Job:
    """
    Load and check everything that `run` needs, so that what follows is running alone.

    Raises `AnysizeError` as `run` does.
    """
    inputs = items if isinstance(items, Inputs) else inputs_of(items)  # what is wrong with it is said first
    begin, name = time.perf_counter(), "the model"
    if isinstance(model, str | os.PathLike):
        name = os.fspath(model)
        view = load(model, None if size == AUTO else size)
    else:
        from anysize.core.model.contract import NestedModel as Kind

        if not isinstance(model, Kind):
            raise AnysizeError("run takes a nested model, as load or fit gives it, or the path of a saved one")
        view = model if size is None or size == AUTO else model.at(size)
    view = view.for_task(task)
    view = view.choosing() if size == AUTO else view
    loading = time.perf_counter() - begin
    named = [one for one in inspect.signature(view.run).parameters.values() if one.kind is one.KEYWORD_ONLY]
    known = [one.name for one in named if one.name != "side"]
    for option in options:
        if option not in known:
            there = nearest(option, known) if known else "it has no options"
            raise AnysizeError(f"a model of kind {view.kind!r} does not run with {option}; {there}")
    if batch_size is not None and "batch_size" in known:
        options["batch_size"] = batch_size
    inputs = apart(inputs, view.reads)
    check_reads(view, name, inputs)
    if isinstance(view, ReadsTexts) and inputs.items.texts is not None:
        view.window().say_cut(inputs.items.texts)
    return Job(view, inputs, side, options, loading, strict)


def each(running: Job) -> Iterator[tuple[list[str], Any]]:
    """
    The ids and outputs of one part of the items after the other, as they are made.

    What was left out is said on standard error in the end. Raises `DataError` if that is all.
    """
    ids, broken = running.inputs.items.ids, dict[int, DataError]()
    for part in running.parts():
        found, errors = running.readable(part)
        broken |= errors
        yield _named(ids, part, errors), found
    left_out.tell(broken, len(ids))


@takes(out=PATH, strict=FLAG)
def run(
    model: NestedModel | str | os.PathLike[str],
    items: Any,
    *,
    size: Size | str | None = None,
    task: str | None = None,
    side: Side | None = None,
    out: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    **options: Any,
) -> Ran:
    """
    What a model (or a saved one, by its path) gives for each item, at its size.

    `items` are texts or vectors, `Items`, data as `read` gives it, a path, or one text. `options` are those of the
    model's own `run`. With `out` the outputs are written there, in the format that its name ends in: vectors to .npy,
    .npz, .safetensors or .jsonl, codes to the last three, anything else to .jsonl. What is done is kept in
    ``OUT.partial`` meanwhile, and a run that was stopped goes on from there when it is asked for again, to the same
    result. A name without an ending is a folder, for kinds that write one (brat files of spans). Files among the items
    that cannot be read are left out of what is written, with a note on standard error, unless `strict`; outputs that
    are returned, and an .npy file, have one for each item, so there they are refused.
    Raises `AnysizeError` for items that the model does not read, options that it does not take, a format that
    cannot hold its outputs, or an unfinished run of something else.
    """
    if out is not None and Path(out).suffix:
        check_file(Path(out))
    strict = strict or out is None
    running = job(model, items, size=size, task=task, side=side, batch_size=batch_size, strict=strict, **options)
    begin, count = time.perf_counter(), len(running.inputs.items)
    if out is None:
        parts = [running.made(part) for part in running.parts()]
        outputs, before = running.shape.joined(parts), 0
        told = [one for part in parts for one in took(part)]
    else:
        before, left = write(running, Path(out))
        outputs, told, count = None, [], count - left
    return Ran(running.view.gives, count, outputs, time.perf_counter() - begin, running.loading, before, told)


def write(running: Job, out: Path) -> tuple[int, int]:
    """
    Run and write all outputs to a file. Returns how many were done before, and how many items could not be read.

    Raises `AnysizeError` as `run` does.
    """
    target = Path(os.path.abspath(out))
    folder = None if target.suffix else running.view.writes
    form, shape, ids = "" if folder else form_of(target, running.shape), running.shape, running.inputs.items.ids
    if folder:
        check_replaceable(target, EXPORT)
    if form == ".npy":  # no row says which item it is of
        running = replace(running, strict=True)
    workdir = workdir_of(target)
    check_ours(workdir)
    sweep(workdir)
    workdir.mkdir(exist_ok=True)
    with lock(workdir / LOCK, f"another run is writing {target}"):
        _begin(workdir, running.identity())
        parts = running.parts()
        files = [workdir / f"{number:06}{shape.ending}" for number in range(len(parts))]
        done = [is_sealed(file) for file in files]
        before = sum(part.stop - part.start for part, known in zip(parts, done, strict=True) if known)
        broken: dict[int, DataError] = {}
        with bar(len(ids), "running", " items", done=before) as shown:
            for part, file, known in zip(parts, files, done, strict=True):
                if known:
                    broken |= left_out.read(file)
                    if broken and running.strict:  # begun without
                        raise UnreadableError(broken)
                    continue
                try:
                    found, errors = running.readable(part)
                    content = shape.pack(found)
                except AnysizeError:
                    if not before and part.start == 0:
                        discard(workdir)  # bad input is no unfinished run
                    raise
                broken |= errors
                left_out.keep(file, errors)
                write_sealed(file, content)
                shown.update(part.stop - part.start)
        if len(broken) == len(ids):
            discard(workdir)
        left_out.tell(broken, len(ids))
        ids = _named(ids, slice(0, len(ids)), broken)
        made = (shape.unpack(file.read_bytes()) for file in files)
        if folder:
            with new_directory(target, marker=EXPORT) as home:
                named(folder)(home, ids, (one for part in made for one in shape.listed(part)))
                write_note(home, running.view.gives)
        else:
            write_chunks(target, shape.chunks(form, ids, made))
    discard(workdir)
    return before, len(broken)


def _named(ids: Sequence[str], part: slice, broken: Container[int]) -> list[str]:
    return [ids[place] for place in range(part.start, part.stop) if place not in broken]


def _begin(workdir: Path, identity: dict[str, Any]) -> None:
    """Note down what run this is, or check that what stands there is this same one."""
    started = workdir / RUN
    if not started.exists():
        write_json(started, identity)
        return
    known = read_object(started, "an unfinished run")
    for what, value in identity.items():
        if known.get(what) != value:
            raise AnysizeError(
                f"the unfinished run at {workdir} has another {what}; give the same to go on with it, or delete "
                "that folder to start anew"
            )
