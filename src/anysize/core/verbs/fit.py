"""Fit: data in, a nested model out, with work kept beside the target so that a killed run can continue."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from anysize.core.arguments import FLAG, PATH, shown, takes
from anysize.core.arguments.options import configured
from anysize.core.data.data import Data
from anysize.core.data.overlap import sketch
from anysize.core.data.read import Source
from anysize.core.errors import AnysizeError, CheckpointError, DivergedError, lacks_memory
from anysize.core.files import (
    README,
    check_replaceable,
    disk_is_full,
    in_one_step,
    lock,
    read_object,
    refuse_link,
    write_bytes,
    write_json,
)
from anysize.core.model.manifest import MANIFEST
from anysize.core.registry import find, named, names
from anysize.core.scratch import discard, sweep
from anysize.core.training.watching import HISTORY
from anysize.core.verbs.card import model_card
from anysize.core.verbs.judge import judge_of
from anysize.core.verbs.method import Method, options_of
from anysize.core.verbs.unfinished import LOCK, RUN, check_ours, workdir_of

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel
    from anysize.core.model.faces import Pretrained

Pretraining = Literal["mlm", "smae"]
"""The methods that give no nested model but an encoder to start from; only type checkers need to be told."""


@overload
def fit(
    data: Source,
    *,
    method: Pretraining,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    watch: Any = None,
    **options: Any,
) -> Pretrained: ...


@overload
def fit(
    data: Source,
    *,
    method: str = "mrl",
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    watch: Any = None,
    **options: Any,
) -> NestedModel: ...


@overload
def fit(
    data: Source,
    *,
    method: Method,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    watch: Any = None,
) -> Any: ...


@takes(out=PATH, resume=FLAG)
def fit(
    data: Source,
    *,
    method: str | Any = "mrl",
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    watch: Any = None,
    **options: Any,
) -> Any:
    """
    Make a model nested and, if `out` is given, save it there. `data` is whatever `anysize.read` takes.

    `method` is a registered name, with `options` as its fields, or a method object. Work in progress is kept in
    ``OUT.partial`` and removed at the end; `resume` continues it and gives the model that an undisturbed run gives.
    The methods that pre-train give an encoder of transformers instead.

    `watch` looks at the model on the way and keeps its best weights, not the last: a share of the rows, which training
    leaves out and whose loss is looked at (the method's own option of that name); or, for methods that can show their
    model, data to `measure` it on, or a function from a view at one size to a number, higher is better. What was seen
    is in ``about["watched"]`` and, a line a look, in ``OUT.watched.jsonl``.
    Raises `AnysizeError` if an unfinished run with other options stands there.
    """
    judge = None
    if isinstance(watch, int | float):
        options["watch"] = watch
    elif watch is not None:
        judge = judge_of(watch)
    if isinstance(method, str):
        method = configured(find("methods", method), method, options)
    elif not isinstance(method, Method):
        raise AnysizeError(
            f"{shown(method)} is not a method; expected one of {', '.join(names('methods'))}, or its object"
        )
    elif options:
        raise AnysizeError("options belong to a method's name; set them on the method object instead")
    read = named(method.reads)
    if out is None:
        if resume:
            raise AnysizeError("resume needs the place of the unfinished run: give out")
        loaded = read(data)
        return _remember(method.fit(loaded, judge=judge), loaded)
    target = Path(os.path.abspath(out))
    workdir = workdir_of(target)
    history = target.parent / f"{target.name}.{HISTORY}"
    check_replaceable(target, method.marker)
    check_ours(workdir)
    _check_history(history)
    loaded = read(data)
    first = _is_first_rank()
    if first:
        sweep(workdir)
    if resume and target.exists() and not workdir.exists():
        return _finished(named(method.loads)(target), target, workdir, method, loaded)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock(workdir / LOCK, f"another fit is writing {target}") if first else contextlib.nullcontext():
        if first:
            _begin(workdir, method, loaded, resume)
        with _saying_how_to_go_on():
            try:
                made = _remember(method.fit(loaded, workdir=workdir, resume=resume, judge=judge), loaded)
            except (AnysizeError, MemoryError, RuntimeError) as error:
                if not isinstance(error, AnysizeError) and not lacks_memory(error):
                    raise
                # Bad input is not an unfinished run: nothing of it may stand in the way of the corrected one.
                kept = isinstance(error, DivergedError) and error.checkpoint is not None
                if first and not resume and not kept:
                    discard(workdir)
                raise
            if first:
                with in_one_step(target) as folder:
                    made.save(folder)
                    if method.marker == MANIFEST:
                        (folder / README).write_bytes(model_card(target.name, made))
                if (workdir / HISTORY).exists():
                    write_bytes(history, (workdir / HISTORY).read_bytes())
    if first:
        discard(workdir)
    return made


@contextlib.contextmanager
def _saying_how_to_go_on() -> Iterator[None]:
    """What the command line says of a full disk ends in "run it again", which this run refuses without --resume."""
    try:
        yield
    except Exception as error:
        if disk_is_full(error):
            error.add_note("with --resume, which continues it")
        raise


def _remember(made: Any, data: Data) -> Any:
    """What was made, with a sample of what it learnt from, so that `measure` can tell what it has seen."""
    said = made.about.get("data")
    if isinstance(said, dict) and said.get("fingerprint") == data.fingerprint and data.name != "none":
        said["sketch"] = sketch(data)
    return made


def unfinished(out: str | os.PathLike[str]) -> bool:
    """Whether a run that was to write there was stopped on the way, so that `resume` would continue it."""
    return workdir_of(Path(os.path.abspath(out))).exists()


def _check_history(path: Path) -> None:
    """Raise `CheckpointError` if what stands where looks are told was written by something else."""
    refuse_link(path)
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(b'{"step": ')):
        raise CheckpointError(f"{path}, where looks at a training are told, holds something else; move it away")


def _begin(workdir: Path, method: Any, data: Data, resume: bool) -> None:
    """Check that what stands in `workdir` is this same run, or note down what this run is."""
    started = workdir / RUN
    run: dict[str, Any] = {"options": options_of(method), "method": type(method).__name__, "data": data.fingerprint}
    if not started.exists():
        if resume:
            discard(workdir)
            raise AnysizeError(f"there is no unfinished run at {workdir}; leave out --resume to start one")
        write_json(started, run)
        return
    before = read_object(started, "an unfinished run")
    if before.keys() != run.keys() or not isinstance(before["options"], dict):
        raise CheckpointError(f"{started} does not describe an unfinished run; delete {workdir} to start anew")
    if not resume:
        raise AnysizeError(f"an unfinished run stands at {workdir}; add --resume to continue it, or delete that folder")
    if before != run:
        changed = [name for name in run["options"] if before["options"].get(name) != run["options"][name]]
        what = f"options {', '.join(changed)}" if changed else "data"
        raise AnysizeError(f"the unfinished run at {workdir} was started with different {what}; use the same to resume")


def _finished(model: Any, target: Path, workdir: Path, method: Any, data: Data) -> Any:
    """The model that stands at `target`, if this run would have made it: the earlier run had finished after all."""
    made = (model.about.get("options"), model.about.get("data", {}).get("fingerprint"))
    if made != (options_of(method), data.fingerprint):
        raise AnysizeError(f"there is no unfinished run at {workdir}, and {target} was made with other options or data")
    return model


def _is_first_rank() -> bool:
    return os.environ.get("RANK", "0") == "0"
