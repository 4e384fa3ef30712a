"""Measure: one pass over the data, quality and cost at every size, rivals beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anysize.core.arguments import FLAG, TEXT, expect, instance, many, takes
from anysize.core.arguments.options import configured
from anysize.core.data.identical import Rule
from anysize.core.data.overlap import overlap_notes
from anysize.core.data.read import Source
from anysize.core.errors import AnysizeError, DataError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.intervals import FEW, count_of, with_intervals
from anysize.core.frontier.record import Record
from anysize.core.frontier.records import NESTED, ORIGINAL
from anysize.core.frontier.timing import timed
from anysize.core.progress import each_view
from anysize.core.registry import find, named
from anysize.core.scratch import temporary_folder
from anysize.core.verbs.evaluator import Evaluator, Scores, Task
from anysize.core.verbs.left_out import leaving_out
from anysize.core.verbs.rivals import check_known, rival

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.model.contract import NestedModel
    from anysize.core.sizes.size import Size


@takes(arms=many(TEXT, "a list of names of rivals"), by=TEXT | instance(Evaluator, words="an evaluator"), strict=FLAG)
def measure(
    model: NestedModel,
    data: Source,
    *,
    arms: Iterable[str] | None = None,
    sizes: Iterable[Size] | None = None,
    by: str | Evaluator | None = None,
    identical: Rule = "drop",
    strict: bool = False,
    **options: Any,
) -> Frontier:
    """
    Quality and cost of a model at every trained size (or those given), beside rivals and the untouched original.

    `data` is whatever `anysize.read` takes. `by` is an evaluator, or names one of the model's, with `options` as its
    fields; without it, the first for which the data suffice. Without `arms`, the rivals are the model's `usual` ones.

    `identical` says what becomes of a document that is the query itself (`anysize.core.data.identical`). If the model
    was trained on this very data, only the part that training left out is used, where there is one. Intervals come from
    a bootstrap over what was measured; ``meta["notes"]`` holds what a reader should know before trusting the figures.
    Files that cannot be read are left out, with a note, unless `strict`. Raises `DataError` if the data offers nothing
    to measure by.
    """
    from anysize.core.model.contract import NestedModel

    expect(model, instance(NestedModel, words="a nested model, as load or fit gives it"), "measure: model")
    loaded = replace(named(model.reader)(data), identical=identical)
    chosen, asked = model.nesting.resolve_all(sizes), None if arms is None else list(arms)
    return leaving_out(loaded, lambda data: _measured(model, data, asked, chosen, by, options), strict=strict)


def _measured(
    model: NestedModel,
    loaded: Data,
    arms: Sequence[str] | None,
    chosen: Sequence[Size],
    by: str | Evaluator | None,
    options: Mapping[str, Any],
) -> Frontier:
    evaluator = _evaluator(model, loaded, by, options)
    held_out = has_seen(model, loaded)
    views: dict[str, Sequence[Any]] = {NESTED: [model.at(size) for size in chosen]}
    views |= evaluator.arms(model, chosen)
    views |= _rivals(model, loaded, evaluator, arms, chosen)
    task = evaluator.prepare(loaded, held_out)
    records = records_of(evaluator, views, task)
    count = count_of(records)
    notes = [*loaded.notes, *task.notes, *overlap_notes(_learnt(model), loaded, held_out=held_out)]
    if count is not None and count < FEW:
        notes.append(f"only {count} {task.units}: fewer than {FEW} tell little, and their intervals are too narrow")
    meta = {
        "data": loaded.name,
        "model": model.about.get("options", {}).get("model"),
        "task": task.said,
        **task.facts,
        **({} if count is None else {"sampled": f"{count} {task.units}"}),
        **({"notes": notes} if notes else {}),
    }
    return Frontier(with_intervals(records), metric=task.metric, meta=meta)


def has_seen(model: NestedModel, data: Data) -> bool:
    """Whether a model was trained on this very data, so that only what training left out tells anything."""
    return any(one.get("fingerprint") == data.fingerprint for one in _learnt(model))


def _learnt(model: NestedModel) -> list[dict[str, Any]]:
    return [model.about.get("data", {}), *model.about.get("learnt_too", [])]


def records_of(evaluator: Evaluator, views: Mapping[str, Sequence[Any]], task: Task) -> list[Record]:
    """What each view of each arm achieves and costs: one record of each, timed together."""
    records, runs = [], []
    task.original = next(reversed(views.get(ORIGINAL, ())), None)
    with temporary_folder() as task.scratch:
        for arm, view in each_view(views):
            scores = evaluator.score(view, task)
            records.append(_record(arm, view, scores))
            runs.append(scores.run)
        known = [run for run in runs if run is not None]
        return timed(records, known) if len(known) == len(records) else records


def _record(arm: str, view: Any, scores: Scores) -> Record:
    cost = view.cost()
    return Record(
        view.size,
        arm,
        {**{name: float(values.mean()) for name, values in scores.units.items()}, **scores.metrics},
        cost.bytes if scores.bytes is None else scores.bytes,
        parameters=cost.parameters if scores.parameters is None else scores.parameters,
        flops=cost.flops if scores.flops is None else scores.flops,
        quantiles={name: list(found) for name, found in scores.quantiles.items()},
        units=dict(scores.units),
    )


def _evaluator(model: NestedModel, data: Data, by: str | Evaluator | None, options: Mapping[str, Any]) -> Evaluator:
    """The one asked for, or the first of the model's whose face the model has and whose needs the data meet."""
    known = model.evaluators
    if options and not isinstance(by, str):
        raise AnysizeError("options belong to an evaluator's name; say by which one to measure")
    if isinstance(by, str) and by not in known:
        raise AnysizeError(f"a {model.kind} is not measured by {by!r}; expected one of {', '.join(known)}")
    tried: dict[str, Evaluator] = {}
    for name in known if by is None else (by,):
        one = configured(find("evaluators", name), name, options, "evaluator") if isinstance(name, str) else name
        if isinstance(model, one.face) and one.accepts(data):
            return one
        tried[name if isinstance(name, str) else type(name).__name__] = one
    needs = ", ".join(f"{name} needs {one.needs}" for name, one in tried.items())
    raise DataError(f"{data.name} offers nothing to measure a {model.kind} by: {needs or 'it has no evaluators'}")


def _rivals(
    model: NestedModel, data: Data, evaluator: Evaluator, arms: Iterable[str] | None, sizes: Sequence[Size]
) -> dict[str, list[Any]]:
    """The views of every arm but the nested one. Of those that nobody asked for, such as the evaluator can measure."""
    asked = model.usual if arms is None else tuple(arms)
    for arm in asked:
        check_known(model, arm)  # before any of them is made, which may take long
    found = {}
    for arm in dict.fromkeys([*asked, *({ORIGINAL} & model.rivals.keys())]):
        views = [view for view in rival(model, arm, data) if arm == ORIGINAL or view.size in sizes]
        if all(isinstance(view, evaluator.face) for view in views):
            found[arm] = views
        elif arms is not None and arm in asked:
            raise AnysizeError(f"the arm {arm} {_lacks(model, views)}, or leave out that arm")
    return found


def _lacks(model: NestedModel, views: Sequence[Any]) -> str:
    others = [name for name in model.evaluators if isinstance(views[0], find("evaluators", name).face)]
    return f"has nothing that this evaluator could measure; measure by {' or '.join(others) or 'another'}"
