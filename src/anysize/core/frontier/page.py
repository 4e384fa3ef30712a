"""The frontier as one self-contained page: a chart to point at, a budget to pick by, every figure in a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape

from anysize.core.frontier.chart import chart
from anysize.core.frontier.grid import axes_of, is_grid
from anysize.core.frontier.html import filled
from anysize.core.frontier.panel import Panel
from anysize.core.frontier.record import is_lower
from anysize.core.frontier.records import NESTED, Records, cheapness
from anysize.core.frontier.style import (
    SIZE,
    UNITS,
    caption,
    colors,
    drawn_over,
    milliseconds,
    number,
    shown,
    title,
    with_interval,
)
from anysize.core.frontier.tolerance import in_decibels
from anysize.core.sizes.menu import written


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
        chart=chart(frontier, cost),
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


def _legend(frontier: Records) -> str:
    """The arms by colour, for a window too narrow to show the chart's right end, where they are named."""
    palette = colors(frontier.arms)
    shades = {arm: "var(--accent)" if arm == NESTED else palette[arm] for arm in frontier.arms}
    named = "".join(f'<span style="--c:{shade}">{escape(arm)}</span>' for arm, shade in shades.items())
    return f'<p class="legend soft">{named}</p>'
