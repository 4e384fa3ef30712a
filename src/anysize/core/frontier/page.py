"""The frontier as one self-contained page: a chart to point at, a budget to pick by, every figure in a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

from anysize.core.frontier.grid import axes_of, is_grid
from anysize.core.frontier.html import filled
from anysize.core.frontier.panel import Panel
from anysize.core.frontier.record import Record, is_lower
from anysize.core.frontier.records import NESTED, ORIGINAL, Records, cheapness
from anysize.core.frontier.style import (
    SIZE,
    UNITS,
    apart,
    caption,
    colors,
    count,
    drawn_over,
    milliseconds,
    number,
    shown,
    spent,
    title,
    with_interval,
)
from anysize.core.frontier.tolerance import in_decibels
from anysize.core.sizes.menu import written

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900.0, 430.0, 52.0, 110.0, 24.0, 58.0


def page(frontier: Records, panels: Sequence[Panel] = ()) -> str:
    """The page as text, with what more a family shows. It loads nothing; every word that came from data is escaped."""
    cost = drawn_over(frontier)
    more = "" if cost == SIZE else f" and {UNITS[cost]}"
    better = f"; lower {title(frontier.metric)} is better" if is_lower(frontier.metric) else ""
    return filled(
        "anysize.core.frontier",
        title=escape(f"{title(frontier.metric)} at every size"),
        caption=escape(caption(frontier)),
        notes="".join(f"<p class='soft'>{escape(str(note))}</p>" for note in frontier.meta.get("notes", ())),
        axis=escape(f"Size{more}, on a logarithmic scale{better}"),
        loss='max="10" step="0.1" value="0.5"' if in_decibels(frontier.metric) else 'max="50" step="0.5" value="1"',
        cells=_cells(frontier),
        legend=_legend(frontier),
        chart=_chart(frontier, cost),
        style="\n".join(dict.fromkeys(panel.style for panel in panels)),
        panels="".join(f"<section><h2>{escape(one.title)}</h2>{one.body}</section>" for one in panels),
        table=_table(frontier),
        data=_data(frontier),
    )


def _data(frontier: Records) -> str:
    """What the script reads. Inside a script element only ``<`` can do harm, so it is written as an escape."""
    arm = NESTED if NESTED in frontier.arms else frontier.arms[0]
    ranked = sorted(range(len(frontier.records)), key=lambda row: cheapness(frontier.records[row]))
    order = {row: place for place, row in enumerate(ranked)}
    records = [
        {**record.to_json(), "name": str(record.size), "order": order[row]}
        for row, record in enumerate(frontier.records)
    ]
    value = {
        "records": records,
        "metric": frontier.metric,
        "title": title(frontier.metric),
        "decibels": in_decibels(frontier.metric),
        "lower": is_lower(frontier.metric),
        "arm": arm,
        "full": frontier.records.index(frontier.full(arm)),
    }
    return json.dumps(value).replace("<", "\\u003c")


def _table(frontier: Records) -> str:
    metrics = list(dict.fromkeys(metric for record in frontier.records for metric in record.metrics))
    heads = ["arm", "size", "bytes", "ms", *map(title, metrics)]
    lines = ["<table><thead><tr>", *(f"<th><button>{escape(head)}</button></th>" for head in heads)]
    lines.append("</tr></thead><tbody>")
    for arm in frontier.arms:
        for record in frontier.arm(arm):
            row = frontier.records.index(record)
            values = [(metric, record.metrics.get(metric)) for metric in metrics]
            cells: list[tuple[object, str]] = [(arm, arm), (float(math.prod(record.size.values())), str(record.size))]
            cells.append((record.bytes, str(record.bytes)))
            cells.append(("", "") if record.ms is None else (record.ms, milliseconds(record)))
            cells += [
                ("", "") if value is None else (shown(metric, value), with_interval(record, metric))
                for metric, value in values
            ]
            written = "".join(f'<td data-key="{escape(str(key))}">{escape(word)}</td>' for key, word in cells)
            lines.append(f'<tr data-row="{row}">{written}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _cells(frontier: Records) -> str:
    """The nested arm over two axes, a cell a size, shaded by quality; nothing where it is not nested in two."""
    if not is_grid(frontier):
        return ""
    (down, rows), (across, columns) = axes_of(frontier).items()
    found = {(one.size[down], one.size[across]): one.metrics[frontier.metric] for one in frontier.arm(NESTED)}
    low, high, lower = min(found.values()), max(found.values()), is_lower(frontier.metric)
    wide = max(high - low, 1e-9)
    lines = [f'<table class="cells"><tr><th>{escape(down)} \\ {escape(across)}</th>']
    lines += [*(f"<th>{written(column)}</th>" for column in columns), "</tr>"]
    for row in reversed(rows):
        lines.append(f"<tr><th>{written(row)}</th>")
        for column in columns:
            value = found.get((row, column))
            share = 0.0 if value is None else (high - value if lower else value - low) / wide
            shade = "" if value is None else f' style="--share:{6 + 54 * share:.0f}%"'
            lines.append(f"<td{shade}>{'' if value is None else number(value)}</td>")
        lines.append("</tr>")
    return "".join([*lines, "</table>"])


def _drawn(frontier: Records) -> str:
    """The arm whose intervals are drawn."""
    return NESTED if NESTED in frontier.arms else frontier.arms[0]


class _Scale:
    """From cost and quality to places in the drawing: cost on a log2 scale, quality on a linear one."""

    def __init__(self, frontier: Records, cost: str) -> None:
        self.cost, self.metric = cost, frontier.metric
        costs = [math.log2(where) for record in frontier.records if (where := spent(record, cost))] or [0.0]
        values = [record.metrics[frontier.metric] for record in frontier.records]
        values += [end for record in frontier.arm(_drawn(frontier)) for end in record.intervals.get(self.metric, ())]
        self.low, self.wide = min(costs) - 0.12, max(max(costs) - min(costs), 0.5) + 0.24
        apart = max(values) - min(values)
        self.step = _nice((apart if apart > 1e-9 else abs(values[0]) or 1.0) / 5)  # all alike: ticks of their own size
        self.floor = math.floor(min(values) / self.step)
        self.ceiling = max(math.ceil(max(values) / self.step), self.floor + 1)

    def x(self, cost: float) -> float:
        return _LEFT + (math.log2(cost) - self.low) / self.wide * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value / self.step - self.floor) / (self.ceiling - self.floor)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def point(self, record: Record) -> tuple[float, float]:
        return self.x(spent(record, self.cost) or 1.0), self.y(record.metrics[self.metric])


def _chart(frontier: Records, cost: str) -> str:
    scale, palette = _Scale(frontier, cost), colors(frontier.arms)
    parts = [f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(title(frontier.metric))}">']
    for tick in range(scale.floor, scale.ceiling + 1):
        height = scale.y(tick * scale.step)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(_text(_LEFT - 10, height + 4, f"{tick * scale.step:.6g}", anchor="end"))
    parts += _size_names(frontier, scale)
    ends: list[tuple[float, str]] = []
    for arm in reversed(frontier.arms):
        known = [record for record in frontier.arm(arm) if spent(record, cost)]
        if known:
            parts += _arm(frontier, known, scale, palette[arm])
            ends.append((scale.point(known[-1])[1], arm))
    ends.sort()
    for (_, arm), height in zip(ends, apart([height for height, _ in ends], 17), strict=True):
        style = "font-weight:700" if arm == NESTED else f"fill:{palette[arm]}"
        place = f'x="{_WIDTH - _RIGHT + 12}" y="{height + 4:.1f}"'
        parts.append(f'<text class="{_kind(arm)}" {place} style="{style}">{escape(arm)}</text>')
    return "".join([*parts, '<circle class="ring" id="ring" r="11"/></svg>'])


def _legend(frontier: Records) -> str:
    """The arms by colour, for a window too narrow to show the chart's right end, where they are named."""
    palette = colors(frontier.arms)
    shades = {arm: "var(--accent)" if arm == NESTED else palette[arm] for arm in frontier.arms}
    named = "".join(f'<span style="--c:{shade}">{escape(arm)}</span>' for arm, shade in shades.items())
    return f'<p class="legend soft">{named}</p>'


def _arm(frontier: Records, records: list[Record], scale: _Scale, color: str) -> list[str]:
    """One arm: its unbeaten sizes joined, a dot for each record; a lone original is a dashed line across."""
    parts, name = [], records[0].arm
    if name == ORIGINAL and len(records) == 1:
        height = scale.point(records[0])[1]
        across = f"M{_LEFT} {height:.1f}H{_WIDTH - _RIGHT}"
        parts.append(f'<path d="{across}" stroke="{color}" stroke-width="1.4" stroke-dasharray="7 6"/>')
    best = records if _single(frontier) else frontier.pareto(name, scale.cost)
    joined = [scale.point(record) for record in best]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in joined)
    width = 3.2 if name == NESTED else 2
    parts.append(f'<path class="{_kind(name)}" d="{path}" stroke="{color}" stroke-width="{width}"/>')
    if name == NESTED:
        parts += [_whisker(record, frontier.metric, scale) for record in records if frontier.metric in record.intervals]
    for record in records:
        (x, y), row = scale.point(record), frontier.records.index(record)
        label = escape(f"{name}, {record.size}: {record.metrics[frontier.metric]:.4g}")
        parts.append(
            f'<circle class="dot {_kind(name)}" data-row="{row}" cx="{x:.1f}" cy="{y:.1f}" r="{width / 2 + 4:g}" '
            f'fill="{color}" tabindex="0" aria-label="{label}"/>'
        )
    return parts


def _whisker(record: Record, metric: str, scale: _Scale) -> str:
    """The interval of the nested arm's value, as a thin line."""
    x = scale.point(record)[0]
    low, high = (scale.y(end) for end in record.intervals[metric])
    return f'<path class="a0" d="M{x:.1f} {low:.1f}V{high:.1f}" stroke-width="1.2" stroke-opacity=".55"/>'


def _size_names(frontier: Records, scale: _Scale) -> list[str]:
    """Below each cost, the size that has it: the nested arm's if there are several. Crowded ones are left out."""
    names: dict[float, Record] = {}
    for record in sorted(frontier.records, key=lambda one: (one.arm == NESTED, one.metrics[frontier.metric])):
        if where := spent(record, scale.cost):
            names[where] = record
    parts: list[str] = []
    edge = math.inf
    for cost in sorted(names, reverse=True):
        size = names[cost].size
        word = size.bare if len(size) == 1 else str(size)
        if scale.x(cost) <= edge - max(44, 7.5 * len(word)):
            edge = scale.x(cost)
            inside = max(edge, 3.75 * len(word))  # a long name at the left end is not cut by the drawing's edge
            parts.append(_text(inside, _HEIGHT - _BOTTOM + 24, word))
            if scale.cost != SIZE:
                unit = " B" if scale.cost == "bytes" else ""
                parts.append(_text(inside, _HEIGHT - _BOTTOM + 42, count(cost) + unit))
    return parts


def _text(x: float, y: float, word: str, *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(word)}</text>'


def _kind(arm: str) -> str:
    """The nested arm takes its colour from the page, which knows whether it is dark."""
    return "a0" if arm == NESTED else ""


def _single(frontier: Records) -> bool:
    return len({axis for record in frontier.records for axis in record.size}) == 1


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= step * 0.999)
