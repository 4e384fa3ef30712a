"""The frontier as aligned text, one row a size and one column an arm."""

from __future__ import annotations

from anysize.core.frontier.records import NESTED, Records, by_size
from anysize.core.frontier.style import number, percent, title
from anysize.core.sizes.nesting import Size


def render(frontier: Records, *, within: float | None, metric: str) -> str:
    """The table of one metric. `within` marks the cheapest nested size that loses at most that share."""
    sizes = by_size(frontier.records)
    chosen = frontier.cheapest(within=within, metric=metric).size if within is not None else None
    timed = any(record.ms is not None for record in frontier.records)
    axes = tuple(dict.fromkeys(axis for size in sizes for axis in size))
    heads = [title(metric) if arm == NESTED else arm for arm in frontier.arms]
    rows = [[*axes, "bytes", *(["ms/query"] if timed else []), *heads]]
    for size in sizes:
        rows.append([*_cells(frontier, size, axes, metric, timed)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if chosen is not None and within is not None:
        lines[1 + sizes.index(chosen)] += f"   <- cheapest within {percent(within)}"
    return "\n".join("  " + line.rstrip() for line in lines)


def _cells(frontier: Records, size: Size, axes: tuple[str, ...], metric: str, timed: bool) -> list[str]:
    here = {record.arm: record for record in frontier.records if record.size == size}
    leader = here[
        next(arm for arm in frontier.arms if arm in here)
    ]  # costs are the nested arm's, where it has the size
    cells = [str(size[axis]) if axis in size else "" for axis in axes] + [str(leader.bytes)]
    if timed:
        cells.append("" if leader.ms is None else f"{leader.ms:.3g}")
    for arm in frontier.arms:
        found = here[arm].metrics.get(metric) if arm in here else None
        cells.append("" if found is None else number(found))
    return cells
