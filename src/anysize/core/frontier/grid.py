"""A frontier over two axes as a picture: quality in every cell, and what no other size beats at its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anysize.core.frontier.record import Record, goodness
from anysize.core.frontier.records import NESTED, ORIGINAL, Records
from anysize.core.frontier.style import ACCENT, GRID, INK, PAPER, SOFT, UNITS, caption, number, title
from anysize.core.sizes.menu import Value, written
from anysize.core.sizes.size import Size

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def is_grid(frontier: Records) -> bool:
    """Whether the nested arm varies along exactly two axes."""
    return NESTED in frontier.arms and len(axes_of(frontier)) == 2


def axes_of(frontier: Records) -> dict[str, list[Value]]:
    """The axes along which the nested arm varies, with their values, increasing."""
    found: dict[str, set[Value]] = {}
    for record in frontier.arm(NESTED):
        for axis, value in record.size.items():
            found.setdefault(axis, set()).add(value)
    return {axis: sorted(several) for axis, several in found.items() if len(several) > 1}


def draw_grid(figure: Figure, frontier: Records, *, chosen: Size | None) -> None:
    """Fill a figure: left the cells, right quality against milliseconds (bytes, where no time was measured)."""
    figure.set_size_inches(11.6, 4.9)
    figure.text(0.03, 0.945, f"{title(frontier.metric)} at every size", color=INK, fontsize=15, fontweight="bold",
                va="center")  # fmt: skip
    figure.text(0.03, 0.885, caption(frontier), color=SOFT, fontsize=10, va="center")
    _cells(figure.add_axes((0.07, 0.14, 0.42, 0.66)), frontier, chosen)
    _times(figure.add_axes((0.575, 0.14, 0.4, 0.66)), frontier, chosen)


def _cells(axes: Any, frontier: Records, chosen: Size | None) -> None:
    (down, rows), (across, columns) = axes_of(frontier).items()
    records = {(one.size[down], one.size[across]): one for one in frontier.arm(NESTED)}
    values = [goodness(frontier.metric, one.metrics[frontier.metric]) for one in records.values()]
    low, wide = min(values), max(max(values) - min(values), 1e-9)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            record = records.get((row, column))
            if record is None:
                continue
            share = (goodness(frontier.metric, record.metrics[frontier.metric]) - low) / wide
            picked = chosen is not None and record.size == chosen
            axes.add_patch(_square(x, y, ACCENT, 0.08 + 0.82 * share, INK if picked else PAPER, 2.6 if picked else 1.5))
            axes.text(
                x, y, number(record.metrics[frontier.metric]), ha="center", va="center", fontsize=10.5,
                color=PAPER if share > 0.5 else INK, fontweight="bold" if picked else "normal",
            )  # fmt: skip
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xticks(range(len(columns)), [written(column) for column in columns])
    axes.set_yticks(range(len(rows)), [written(row) for row in rows])
    axes.set_xlabel(across, color=SOFT, fontsize=10)
    axes.set_ylabel(down, color=SOFT, fontsize=10)
    _bare(axes)


def _square(x: float, y: float, color: str, alpha: float, edge: str, width: float) -> Any:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    place, side = (x - 0.47, y - 0.46), (0.94, 0.92)
    return Rectangle(place, *side, facecolor=to_rgba(color, alpha), edgecolor=edge, linewidth=width)


def _times(axes: Any, frontier: Records, chosen: Size | None) -> None:
    """Every size as a dot as large as its bytes; those that no other beats are joined and named."""
    records = frontier.arm(NESTED)
    cost = "ms" if all(record.ms for record in records) else "bytes"
    most = max(record.bytes for record in records)
    best = frontier.pareto(NESTED, cost)
    for record in records:
        axes.scatter(
            getattr(record, cost), record.metrics[frontier.metric], s=24 + 150 * record.bytes / most, color=ACCENT,
            alpha=0.9 if record in best else 0.22, edgecolor=PAPER, linewidth=1.0, zorder=3,
        )  # fmt: skip
    line = [(getattr(record, cost), record.metrics[frontier.metric]) for record in best]
    axes.plot(*zip(*line, strict=True), color=ACCENT, linewidth=1.8, zorder=2)
    for record in _spaced(best, frontier.metric):
        axes.annotate(
            record.size.bare,
            (getattr(record, cost), record.metrics[frontier.metric]),
            xytext=(7, -11), textcoords="offset points", fontsize=9,
            color=INK if record.size == chosen else SOFT, fontweight="bold" if record.size == chosen else "normal",
        )  # fmt: skip
    if ORIGINAL in frontier.arms:
        whole = frontier.full(ORIGINAL).metrics[frontier.metric]
        axes.axhline(whole, color=SOFT, linewidth=1.2, linestyle=(0, (5, 4)), zorder=1)
        axes.annotate(ORIGINAL, (0.01, whole), xycoords=("axes fraction", "data"), xytext=(0, 4),
                      textcoords="offset points", color=SOFT, fontsize=9)  # fmt: skip
    names = ":".join(records[0].size)
    axes.set_xlabel(UNITS[cost], color=SOFT, fontsize=10)
    axes.text(0.99, 0.02, f"{names}; larger dots store more bytes", color=SOFT, fontsize=9, ha="right",
              transform=axes.transAxes)  # fmt: skip
    axes.margins(x=0.12, y=0.1)
    _bare(axes)
    axes.grid(axis="y", color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)


def _spaced(records: tuple[Record, ...], metric: str) -> list[Record]:
    """Records far enough apart in quality that their names do not lie on each other, the best first."""
    kept: list[Record] = []
    values = [record.metrics[metric] for record in records]
    gap = 0.06 * max(max(values) - min(values), 1e-9)
    for record in reversed(records):
        if not kept or abs(kept[-1].metrics[metric] - record.metrics[metric]) >= gap:
            kept.append(record)
    return kept


def _bare(axes: Any) -> None:
    axes.tick_params(colors=SOFT, labelsize=9.5, length=0, pad=6)
    for side in axes.spines.values():
        side.set_visible(False)
