"""The chart of a frontier's page, as a drawing for wide windows and one for narrow ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from anysize.core.frontier.record import Record
from anysize.core.frontier.records import NESTED, ORIGINAL, Records
from anysize.core.frontier.style import SIZE, apart, colors, count, spent, title


@dataclass(frozen=True)
class Room:
    """How large a drawing is, in its own units, and what is left beside the lines."""

    name: str
    width: float
    height: float
    left: float
    right: float
    top: float = 24.0
    bottom: float = 58.0

    @property
    def end(self) -> float:
        """Where the lines end."""
        return self.width - self.right

    @property
    def foot(self) -> float:
        """Where they stand."""
        return self.height - self.bottom


WIDE = Room("wide", 900.0, 430.0, 52.0, 110.0)
NARROW = Room("narrow", 390.0, 330.0, 44.0, 16.0)
"""The arms are not named in it: there is a legend."""


def chart(frontier: Records, cost: str) -> str:
    """Both drawings; the page shows the one that fits."""
    return _chart(frontier, cost, WIDE) + _chart(frontier, cost, NARROW)


def _drawn(frontier: Records) -> str:
    """The arm whose intervals are drawn."""
    return NESTED if NESTED in frontier.arms else frontier.arms[0]


class _Scale:
    """From cost and quality to places in the drawing: cost on a log2 scale, quality on a linear one."""

    def __init__(self, frontier: Records, cost: str, room: Room) -> None:
        self.cost, self.metric, self.room = cost, frontier.metric, room
        costs = [math.log2(where) for record in frontier.records if (where := spent(record, cost))] or [0.0]
        values = [record.metrics[frontier.metric] for record in frontier.records]
        values += [end for record in frontier.arm(_drawn(frontier)) for end in record.intervals.get(self.metric, ())]
        self.low, self.wide = min(costs) - 0.12, max(max(costs) - min(costs), 0.5) + 0.24
        apart = max(values) - min(values)
        self.step = _nice((apart if apart > 1e-9 else abs(values[0]) or 1.0) / 5)  # all alike: ticks of their own size
        self.floor = math.floor(min(values) / self.step)
        self.ceiling = max(math.ceil(max(values) / self.step), self.floor + 1)

    def x(self, cost: float) -> float:
        return self.room.left + (math.log2(cost) - self.low) / self.wide * (self.room.end - self.room.left)

    def y(self, value: float) -> float:
        share = (value / self.step - self.floor) / (self.ceiling - self.floor)
        return self.room.foot - share * (self.room.foot - self.room.top)

    def point(self, record: Record) -> tuple[float, float]:
        return self.x(spent(record, self.cost) or 1.0), self.y(record.metrics[self.metric])


def _chart(frontier: Records, cost: str, room: Room) -> str:
    scale, palette = _Scale(frontier, cost, room), colors(frontier.arms)
    box = f'class="{room.name}" viewBox="0 0 {room.width:.0f} {room.height:.0f}"'
    parts = [f'<svg {box} role="img" aria-label="{escape(title(frontier.metric))}">']
    for tick in range(scale.floor, scale.ceiling + 1):
        height = scale.y(tick * scale.step)
        parts.append(f'<line class="grid" x1="{room.left}" x2="{room.end}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(_text(room.left - 8, height + 4, f"{tick * scale.step:.6g}", anchor="end"))
    parts += _size_names(frontier, scale)
    ends: list[tuple[float, str]] = []
    for arm in reversed(frontier.arms):
        known = [record for record in frontier.arm(arm) if spent(record, cost)]
        if known:
            parts += _arm(frontier, known, scale, palette[arm])
            ends.append((scale.point(known[-1])[1], arm))
    ends.sort()
    for (_, arm), height in zip(ends, apart([height for height, _ in ends], 17), strict=True) if room == WIDE else ():
        style = "font-weight:700" if arm == NESTED else f"fill:{palette[arm]}"
        place = f'x="{room.end + 12}" y="{height + 4:.1f}"'
        parts.append(f'<text class="{_kind(arm)}" {place} style="{style}">{escape(arm)}</text>')
    return "".join([*parts, '<circle class="ring" r="11"/></svg>'])


def _arm(frontier: Records, records: list[Record], scale: _Scale, color: str) -> list[str]:
    """One arm: its unbeaten sizes joined, a dot for each record; a lone original is a dashed line across."""
    parts, name = [], records[0].arm
    if name == ORIGINAL and len(records) == 1:
        height = scale.point(records[0])[1]
        across = f"M{scale.room.left} {height:.1f}H{scale.room.end}"
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
        unit = " B" if scale.cost == "bytes" else ""
        cost_word = "" if scale.cost == SIZE else count(cost) + unit
        if scale.x(cost) <= edge - max(44, 7.5 * len(word)):
            edge = scale.x(cost)
            half = 3.75 * max(len(word), len(cost_word))  # a long name is not cut by the drawing's edges
            inside = min(max(edge, half), scale.room.width - half)
            parts.append(_text(inside, scale.room.foot + 24, word))
            if cost_word:
                parts.append(_text(inside, scale.room.foot + 42, cost_word))
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
