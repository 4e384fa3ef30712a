"""The frontier as a picture: quality against cost, one line an arm, each named where it ends."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anysize.core.errors import AnysizeError
from anysize.core.files import write_bytes
from anysize.core.frontier.grid import draw_grid, is_grid
from anysize.core.frontier.record import Record
from anysize.core.frontier.records import NESTED, ORIGINAL, Records
from anysize.core.frontier.style import (
    ACCENT,
    GRID,
    INK,
    PAPER,
    SIZE,
    SOFT,
    UNITS,
    apart,
    caption,
    colors,
    count,
    drawn_over,
    number,
    spent,
    title,
)
from anysize.core.sizes.size import Size

if TYPE_CHECKING:
    from matplotlib.figure import Figure
MARKERS = ("s", "^", "D", "v", "P", "X")


def draw(frontier: Records, path: Path, *, chosen: Size | None = None) -> None:
    """
    Draw to `path`; the suffix says whether png, svg or pdf. `chosen` is a size of the nested arm to mark.

    Raises `AnysizeError` if matplotlib is missing, cannot write that suffix, or `chosen` is not there.
    """
    write_bytes(path, drawn(frontier, path, chosen=chosen))


def drawn(frontier: Records, path: Path, *, chosen: Size | None = None) -> bytes:
    """What `draw` writes to `path`."""
    figure = picture(frontier, chosen=chosen)
    kinds, kind = figure.canvas.get_supported_filetypes(), path.suffix.lower().removeprefix(".")
    if kind not in kinds:
        raise AnysizeError(f"cannot draw to {path}; name a file that ends in one of {', '.join(sorted(kinds))}")
    content = io.BytesIO()
    figure.savefig(content, format=kind, facecolor=PAPER)
    return content.getvalue()


def picture(frontier: Records, *, chosen: Size | None = None) -> Figure:
    """The same as a matplotlib figure, on a canvas of its own: nothing global is touched."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.text import Text
    except ImportError:
        raise AnysizeError('drawing needs matplotlib; pip install "anysize[plot]"') from None
    figure = Figure(figsize=(8.4, 4.9), dpi=200, facecolor=PAPER)
    FigureCanvasAgg(figure)
    if is_grid(frontier):
        if chosen is not None:
            _nested(frontier, chosen)
        draw_grid(figure, frontier, chosen=chosen)
        for text in figure.findobj(Text):
            text.set_parse_math(False)
        return figure
    palette, cost = colors(frontier.arms), drawn_over(frontier)
    lines = [arm for arm in frontier.arms if arm != ORIGINAL or len(frontier.arm(arm)) > 1]
    right = 0.985 - max(0.105, 0.0135 * max(map(len, lines), default=0))  # room for the names at the ends
    axes = figure.add_axes((0.075, 0.14, right - 0.075, 0.7))
    for arm in reversed(lines):
        _line(axes, frontier, arm, cost, palette[arm], MARKERS[lines.index(arm) % len(MARKERS)])
    if ORIGINAL in frontier.arms and ORIGINAL not in lines:
        _original(axes, frontier, palette[ORIGINAL])
    _frame(axes, frontier, cost)
    _name_ends(axes, [(_joined(frontier, arm, cost)[-1].metrics[frontier.metric], arm, palette[arm]) for arm in lines])
    if chosen is not None:
        _mark(axes, frontier, chosen, cost)
    _titles(figure, frontier)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name may hold dollar signs
    return figure


def _line(axes: Any, frontier: Records, arm: str, cost: str, color: str, marker: str) -> None:
    """The arm's sizes that no other of its sizes beats, joined; the rest as faint dots."""
    nested, metric = arm == NESTED, frontier.metric
    best = _joined(frontier, arm, cost)
    rest = [record for record in frontier.arm(arm) if record not in best]
    costs, values = _points(best, cost, metric)
    if any(record.spread.get(metric) for record in best):  # one standard deviation over seeds, each side
        spread = [record.spread.get(metric, 0.0) for record in best]
        low, high = zip(*((value - one, value + one) for value, one in zip(values, spread, strict=True)), strict=True)
        axes.fill_between(costs, low, high, color=color, alpha=0.13, linewidth=0, zorder=1)
    elif nested and all(metric in record.intervals for record in best):  # where one run was measured, its interval
        low, high = zip(*(record.intervals[metric] for record in best), strict=True)
        axes.fill_between(costs, low, high, color=color, alpha=0.1, linewidth=0, zorder=1)
    if rest:
        axes.plot(*_points(rest, cost, metric), color=color, linestyle="none", marker="o", markersize=4, alpha=0.35)
    axes.plot(
        costs,
        values,
        color=color,
        linewidth=2.8 if nested else 1.7,
        marker="o" if nested else marker,
        markersize=7.5 if nested else 5.5,
        markeredgecolor=PAPER,
        markeredgewidth=1.4 if nested else 0.9,
        solid_capstyle="round",
        solid_joinstyle="round",
        zorder=5 if nested else 3,
        clip_on=False,
    )


def _frame(axes: Any, frontier: Records, cost: str) -> None:
    """A logarithmic axis of cost that says the sizes, light grid lines, no box."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    names = {where: record for record in _widest_first(frontier, cost) if (where := spent(record, cost))}
    axes.set_xscale("log", base=2)
    low, high = min(names), max(names)
    axes.set_xlim(low / 1.12, high * 1.12 if high > low else high * 2)
    ticks = _roomy(sorted(names), high / low, room=0.055 if _one_axis(frontier) else 0.17)
    axes.xaxis.set_minor_locator(NullLocator())
    suffix = " B" if cost == "bytes" else ""
    below = ["" if cost == SIZE else f"\n{count(tick)}{suffix}" for tick in ticks]
    axes.set_xticks(ticks, [f"{_short(names[tick].size)}{more}" for tick, more in zip(ticks, below, strict=True)])
    what = next(iter(frontier.records[0].size)) if _one_axis(frontier) else "size"
    axes.set_xlabel(what if cost == SIZE else f"{what} / {UNITS[cost]}", color=SOFT, fontsize=10, labelpad=7)
    axes.margins(y=0.05)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.13 * (top - bottom))  # room for the word above the chosen size
    axes.yaxis.set_major_locator(MaxNLocator(6))
    decimals = 1 if top - bottom > 5 else 2 if top - bottom > 0.05 else 3
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.{decimals}f}".replace("0.", ".", 1) if value else "0")
    axes.tick_params(colors=SOFT, labelsize=9.5, length=0, pad=6)
    axes.grid(axis="y", color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _original(axes: Any, frontier: Records, color: str) -> None:
    """The untouched model as a dashed line across, named where it begins."""
    whole = frontier.full(ORIGINAL)
    value = whole.metrics[frontier.metric]
    axes.axhline(value, color=color, linewidth=1.3, linestyle=(0, (5, 4)), zorder=2)
    axes.annotate(
        f"original, {whole.size}",
        (0, value),
        xycoords=("axes fraction", "data"),
        xytext=(4, 5),
        textcoords="offset points",
        color=color,
        fontsize=9.5,
        va="bottom",
    )


def _name_ends(axes: Any, ends: list[tuple[float, str, str]]) -> None:
    """Each arm's name at its right end, pushed apart where two would overlap."""
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: end[0])
    for (_, arm, color), place in zip(ends, apart([end[0] for end in ends], 0.06 * (high - low)), strict=True):
        axes.annotate(
            arm,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            color=color,
            fontsize=12 if arm == NESTED else 10.5,
            fontweight="bold" if arm == NESTED else "normal",
            va="center",
            annotation_clip=False,
        )


def _nested(frontier: Records, chosen: Size) -> Record:
    found = [record for record in frontier.arm(NESTED) if record.size == chosen]
    if not found:
        raise AnysizeError(f"{chosen} is not in the nested arm, so it cannot be marked")
    return found[0]


def _mark(axes: Any, frontier: Records, chosen: Size, cost: str) -> None:
    """A ring around the chosen size and a word on what it saves."""
    record, full = _nested(frontier, chosen), frontier.full()
    here, whole = spent(record, cost) or 1.0, spent(full, cost) or 1.0
    at = (here, record.metrics[frontier.metric])
    axes.plot(
        *at, marker="o", markersize=15, markerfacecolor="none", markeredgecolor=ACCENT, markeredgewidth=1.8, zorder=6
    )
    share = f"{whole / here:.3g}x {'faster' if cost == 'ms' else 'smaller'}" if here < whole else "full size"
    at_left = axes.transAxes.inverted().transform(axes.transData.transform(at))[0] < 0.25
    axes.annotate(
        f"{record.size}\n{number(at[1])}, {share}",
        at,
        xytext=(-6, 13),
        textcoords="offset points",
        ha="left" if at_left else "right",
        va="bottom",
        color=ACCENT,
        fontsize=10.5,
        fontweight="bold",
        linespacing=1.35,
        zorder=7,
        bbox={"boxstyle": "round,pad=0.3", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85},
    )


def _titles(figure: Any, frontier: Records) -> None:
    figure.text(
        0.03, 0.945, f"{title(frontier.metric)} at every size", color=INK, fontsize=15, fontweight="bold", va="center"
    )
    figure.text(0.03, 0.885, caption(frontier), color=SOFT, fontsize=10, va="center")


def _roomy(ticks: list[float], span: float, *, room: float) -> list[float]:
    """Ticks at least the share `room` of the axis apart, counted from the largest down."""
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or kept[-1] / tick >= max(span, 2) ** room:
            kept.append(tick)
    return kept[::-1]


def _joined(frontier: Records, arm: str, cost: str) -> tuple[Record, ...]:
    """The records that a line joins: all along one axis; of several axes, those that no other beats."""
    return frontier.arm(arm) if _one_axis(frontier) else frontier.pareto(arm, cost)


def _one_axis(frontier: Records) -> bool:
    return len({axis for record in frontier.records for axis in record.size}) == 1


def _widest_first(frontier: Records, cost: str) -> list[Record]:
    """Records that know the cost; the best nested one of each cost last, so that its name is the one that stays."""
    known = [record for record in frontier.records if spent(record, cost)]
    return sorted(known, key=lambda record: (record.arm == NESTED, record.metrics[frontier.metric]))


def _points(records: Iterable[Record], cost: str, metric: str) -> tuple[list[float], list[float]]:
    found = [(where, record.metrics[metric]) for record in records if (where := spent(record, cost))]
    return [where for where, _ in found], [value for _, value in found]


def _short(size: Size) -> str:
    return size.bare if len(size) == 1 else str(size)
