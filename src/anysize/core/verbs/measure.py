"""Measure: one pass over the data, quality and cost at every size, rivals beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from anysize.core.arguments import TEXT, expect, instance, many, takes
from anysize.core.data.identical import Rule
from anysize.core.data.overlap import overlap_notes
from anysize.core.data.read import Source, read
from anysize.core.errors import AnysizeError, DataError
from anysize.core.frontier.frontier import Frontier
from anysize.core.frontier.intervals import FEW, count_of, with_intervals
from anysize.core.frontier.records import NESTED, ORIGINAL
from anysize.core.registry import find
from anysize.core.verbs.rivals import rival

if TYPE_CHECKING:
    from anysize.core.model.contract import NestedModel
    from anysize.core.sizes.size import Size


@takes(arms=many(TEXT, "a list of names of rivals"), by=TEXT)
def measure(
    model: NestedModel,
    data: Source,
    *,
    arms: Iterable[str] | None = None,
    sizes: Iterable[Size] | None = None,
    by: str | None = None,
    identical: Rule = "drop",
) -> Frontier:
    """
    Quality and cost of a model at every trained size (or those given), beside rivals and the untouched original.

    `data` is whatever `anysize.read` takes. `by` names one of the model's evaluators; without it, the first that the
    data suffice for. Without `arms`, the rivals are those that the evaluator or the model's kind names (`usual`).

    `identical` says what becomes of a document that is the query itself (`anysize.core.data.identical`). If the model
    was trained on this very data, only the part that training left out is used, where there is one. Intervals come from
    a bootstrap over what was measured; ``meta["notes"]`` holds what a reader should know before trusting the figures.
    Raises `DataError` if the data offers nothing to measure by.
    """
    from anysize.core.model.contract import NestedModel

    expect(model, instance(NestedModel, words="a nested model, as load or fit gives it"), "measure: model")
    known = model.measured_by()
    if by is not None and by not in known:
        raise AnysizeError(f"a {model.kind} is not measured by {by!r}; expected one of {', '.join(known)}")
    loaded = replace(read(data), identical=identical)
    tried = [find("evaluators", name)() for name in (known if by is None else (by,))]
    evaluator = next((one for one in tried if one.accepts(loaded)), None)
    if evaluator is None:
        raise DataError(
            f"{loaded.name} offers nothing to measure a {model.kind} by: no judgements, pairs, scores, or items enough"
        )
    chosen = model.nesting.resolve_all(sizes)
    views = {NESTED: [model.at(size) for size in chosen]}
    usual = model.usual if evaluator.usual is None else evaluator.usual
    asked = usual if arms is None else arms
    for arm in dict.fromkeys([*asked, *({ORIGINAL} & model.rivals.keys())]):
        views[arm] = [view for view in rival(model, arm, loaded) if arm == ORIGINAL or view.size in chosen]
    learnt = [model.about.get("data", {}), *model.about.get("learnt_too", [])]
    held_out = any(one.get("fingerprint") == loaded.fingerprint for one in learnt)
    records = evaluator.evaluate(views, loaded, held_out=held_out)
    described = evaluator.describe(loaded, held_out=held_out)
    count, what = count_of(records), described.pop("units", "units")
    notes = [*loaded.notes, *described.pop("notes", ()), *overlap_notes(learnt, loaded, held_out=held_out)]
    if count is not None and count < FEW:
        notes.append(f"only {count} {what}: fewer than {FEW} tell little, and their intervals are too narrow")
    meta = {
        "data": loaded.name,
        "model": model.about.get("options", {}).get("model"),
        **described,
        **({} if count is None else {"sampled": f"{count} {what}"}),
        **({"notes": notes} if notes else {}),
    }
    return Frontier(with_intervals(records), metric=evaluator.metric, meta=meta)
