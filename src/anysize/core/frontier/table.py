"""The frontier as aligned text, one row a size and one column an arm, and what its figures are good for."""

from __future__ import annotations

from anysize.core.errors import AnysizeError
from anysize.core.frontier.intervals import decimals
from anysize.core.frontier.record import Record
from anysize.core.frontier.records import NESTED, Records, by_size
from anysize.core.frontier.style import (
    UNITS,
    drawn_cost,
    milliseconds,
    number,
    shown,
    times_differ,
    title,
    with_interval,
)
from anysize.core.frontier.tolerance import tolerated
from anysize.core.sizes.menu import written
from anysize.core.sizes.size import Size

SAME, SAME_TIME = "~", "same"


def render(frontier: Records, *, within: float | None, metric: str) -> str:
    """The table of one metric. `within` marks the cheapest nested size that loses at most that."""
    sizes = by_size(frontier.records)
    chosen = frontier.cheapest(within=within, metric=metric) if within is not None else None
    timed = times_differ(frontier.records)
    axes = tuple(dict.fromkeys(axis for size in sizes for axis in size))
    heads = [title(metric) if arm == NESTED else arm for arm in frontier.arms]
    rows = [[*axes, "bytes", *(["ms/query"] if timed else []), *heads]]
    shown_last: Record | None = None
    for size in sizes:
        leader = _leader(frontier, size)
        time = [_time(leader, shown_last)] if timed else []
        shown_last = shown_last if time == [SAME_TIME] or leader.ms is None else leader
        rows.append([*_cells(frontier, size, axes, metric, time)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if chosen is not None and within is not None:
        lines[1 + sizes.index(chosen.size)] += (
            f"   <- cheapest within {tolerated(within)}{_loss(frontier, chosen, metric)}"
        )
    return "\n".join(["  " + line.rstrip() for line in lines] + _legend(frontier, metric, rows, timed))


def no_slower(frontier: Records, record: Record, max_ms: float) -> str | None:
    """What to say where sizes over a limit of time cannot be told apart from the one within it; else None."""
    slow = [other for other in frontier.arm(record.arm) if other.ms is not None and other.ms > max_ms]
    near = [other for other in slow if other.as_fast_as(record)]
    if not near:
        return None
    sizes = ", ".join(f"{other.size} ({milliseconds(other)} ms)" for other in near)
    return (
        f"{sizes}: above {max_ms:g} ms, and in time the same within noise as {record.size} "
        f"({milliseconds(record)} ms), so choose between them by quality or bytes"
    )


def _loss(frontier: Records, record: Record, metric: str) -> str:
    """Between which ends the loss against the full size lies, where that is known."""
    full = frontier.full(record.arm)
    span = record.differences.get(metric, {}).get(f"{full.arm} {full.size}")
    if span is None:
        return ""
    return f" (loses {number(-span[1], decimals(*span))} to {number(-span[0], decimals(*span))})"


def _legend(frontier: Records, metric: str, rows: list[list[str]], timed: bool) -> list[str]:
    lines = []
    if any(metric in record.intervals for record in frontier.records):
        said = f"\u00b1 half of the 95 % interval over {frontier.meta.get('sampled', 'what was measured')}"
        if any(SAME in cell for row in rows[1:] for cell in row):
            said += f"; {SAME} not told apart from nested of that size (the paired interval holds 0)"
        lines.append(f"  {said}")
    if len(known := areas(frontier, metric)) > 1:
        shares = ", ".join(f"{arm} {number(value)}" for arm, value in known.items())
        lines.append(f"  area under the curve over {UNITS[drawn_cost(frontier)]}, 1 for no loss at any size: {shares}")
    times = [record.ms for record in frontier.records if record.ms is not None]
    if times and not timed:
        lines.append(f"  about {sum(times) / len(times):.2g} ms/query at every size: the differences are noise")
    encoding = [one.encoding_ms for one in frontier.records if one.arm == NESTED and one.encoding_ms is not None]
    if encoding:
        each = " to ".join(dict.fromkeys(f"{ms:.2g}" for ms in (min(encoding), max(encoding))))
        lines.append(f"  encoding the query's text takes {each} ms more, whatever the size")
    return lines


def areas(frontier: Records, metric: str | None = None) -> dict[str, float]:
    """The area of the nested arm, and of those that span the same costs; empty where it has none."""
    cost, found = drawn_cost(frontier), {}
    try:
        ends = {arm: [getattr(frontier.arm(arm)[place], cost) for place in (0, -1)] for arm in frontier.arms}
        for arm in frontier.arms:
            if ends[arm] == ends.get(NESTED):
                found[arm] = frontier.area(arm, cost, metric)
    except AnysizeError:  # what is no share of a whole has no area
        return {}
    return found


def _leader(frontier: Records, size: Size) -> Record:
    """The record whose costs are shown: the nested arm's, where it has the size."""
    here = {record.arm: record for record in frontier.records if record.size == size}
    return here[next(arm for arm in frontier.arms if arm in here)]


def _time(record: Record, above: Record | None) -> str:
    """A time, or that it cannot be told apart from the one above: by noise, a larger size may even seem faster."""
    if record.ms is None:
        return ""
    return SAME_TIME if above is not None and record.as_fast_as(above) else milliseconds(record)


def _cells(frontier: Records, size: Size, axes: tuple[str, ...], metric: str, time: list[str]) -> list[str]:
    here = {record.arm: record for record in frontier.records if record.size == size}
    leader = _leader(frontier, size)
    cells = [written(size[axis]) if axis in size else "" for axis in axes] + [str(leader.bytes), *time]
    for arm in frontier.arms:
        cells.append(_value(here[arm], leader, metric) if arm in here and metric in here[arm].metrics else "")
    return cells


def _value(record: Record, leader: Record, metric: str) -> str:
    if record.arm == leader.arm:
        return with_interval(record, metric)
    digits = decimals(*record.intervals[metric]) if metric in record.intervals else 3
    mark = f" {SAME}" if record.same_within_noise(leader, metric) else ""
    return number(shown(metric, record.metrics[metric]), digits) + mark


def sentence(frontier: Records, record: Record, metric: str) -> str:
    """What `choose` says of the record that it chose."""
    full, span = frontier.full(record.arm), record.intervals.get(metric)
    digits = 3 if span is None else decimals(*span)
    said = f"{record.size}: {title(metric)} {number(shown(metric, record.metrics[metric]), digits)}"
    if span is not None:
        ends = sorted(shown(metric, end) for end in span)
        said += f" (95 % interval {number(ends[0], digits)} to {number(ends[1], digits)})"
    if record.size == full.size:
        return f"{said}, the full size"
    lost = full.metrics[metric] - record.metrics[metric]
    apart = record.differences.get(metric, {}).get(f"{full.arm} {full.size}")
    if apart is None:
        return f"{said}, {number(abs(lost), digits)} {'below' if lost >= 0 else 'above'} {full.size}"
    digits = decimals(*apart)
    ends = sorted((-apart[0], -apart[1]))
    said += f", {number(lost, digits)} below {full.size} ({number(ends[0], digits)} to {number(ends[1], digits)})"
    return f"{said}: the same within noise" if record.same_within_noise(full, metric) else said
