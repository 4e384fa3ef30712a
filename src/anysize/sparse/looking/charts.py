"""The charts of the page that `look` writes, drawn as SVG: curves, the power law, how often latents fire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from anysize.sparse.pruning.powerlaw import PowerLaw

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 420.0, 266.0, 48.0, 12.0, 22.0, 40.0
COLORS = ("var(--accent)", "#d1793f", "#2e9e83", "#b6428e")


class _Axis:
    """From values to places along one side, on a linear or a logarithmic scale."""

    def __init__(self, low: float, high: float, start: float, stop: float, *, log: bool) -> None:
        self._log = log
        self._low, self._high = self._scaled(low), self._scaled(high)
        if self._high <= self._low:
            self._high = self._low + 1
        self._start, self._stop = start, stop

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def at(self, value: float) -> float:
        share = (self._scaled(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._stop - self._start)

    def ticks(self) -> list[float]:
        if self._log:
            whole = range(math.ceil(self._low - 1e-9), math.floor(self._high + 1e-9) + 1)
            return [10.0**place for place in whole[:: max(1, len(whole) // 5)]]
        wide = self._high - self._low
        power = 10.0 ** math.floor(math.log10(wide))
        apart = next(power * part for part in (0.1, 0.2, 0.5, 1, 2) if wide / (power * part) <= 6)
        first = math.ceil(self._low / apart - 1e-9)
        return [apart * number for number in range(first, math.floor(self._high / apart + 1e-9) + 1)]


def curves(lines: dict[str, dict[int, float]], label: str) -> str:
    """FVU against size, a line each; the sizes on a logarithmic scale, FVU from 0."""
    sizes = [size for line in lines.values() for size in line]
    top = max(1e-6, *(value for line in lines.values() for value in line.values()))
    x = _Axis(min(sizes), max(sizes), _LEFT, _WIDTH - _RIGHT, log=True)
    y = _Axis(0, min(top, 1.2), _HEIGHT - _BOTTOM, _TOP, log=False)
    parts = _frame(x, y, label, "FVU")
    for color, (name, line) in zip(COLORS, lines.items(), strict=False):
        points = [(x.at(size), max(y.at(value), _TOP)) for size, value in sorted(line.items())]
        parts.append(
            f'<path d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in points)}" stroke="{color}" stroke-width="2"/>'
        )
        for (a, b), (size, value) in zip(points, sorted(line.items()), strict=True):
            words = escape(f"{name}: {size}, FVU {value:.4f}")
            parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.4" fill="{color}"><title>{words}</title></circle>')
    return _svg(parts, label)


def key(names: Sequence[str]) -> str:
    """What each colour of `curves` means."""
    spans = [f'<span style="--c:{color}">{escape(name)}</span>' for color, name in zip(COLORS, names, strict=False)]
    return f'<p class="key">{"".join(spans)}</p>'


def law(importance: Sequence[float], fitted: PowerLaw | None) -> str:
    """Importance against rank, both on logarithmic scales, with the fitted line over its ranks."""
    x = _Axis(1, max(2, len(importance)), _LEFT, _WIDTH - _RIGHT, log=True)
    y = _Axis(importance[-1], importance[0], _HEIGHT - _BOTTOM, _TOP, log=True)
    parts = _frame(x, y, "rank", "mean squared activation")
    ranks = np.unique(np.geomspace(1, len(importance), 240).round().astype(int))
    path = "L".join(f"{x.at(rank):.1f} {y.at(importance[rank - 1]):.1f}" for rank in ranks)
    parts.append(f'<path d="M{path}" stroke="{COLORS[0]}" stroke-width="2.4"/>')
    if fitted is not None:
        ends = [(rank, math.exp(fitted.intercept) * rank**fitted.slope) for rank in (fitted.first, fitted.last)]
        path = "L".join(f"{x.at(rank):.1f} {y.at(value):.1f}" for rank, value in ends)
        parts.append(f'<path d="M{path}" stroke="{COLORS[1]}" stroke-width="1.6" stroke-dasharray="6 4"/>')
    return _svg(parts, "importance by rank")


def frequencies(values: Sequence[float]) -> str:
    """How many latents fire how often; the share of inputs on a logarithmic scale."""
    low = min(values) if values else 1e-4
    edges = np.geomspace(min(low, 0.5), 1, 31)
    counts = np.histogram(np.clip(values, edges[0], 1), edges)[0]
    x = _Axis(edges[0], 1, _LEFT, _WIDTH - _RIGHT, log=True)
    y = _Axis(0, max(1, counts.max()), _HEIGHT - _BOTTOM, _TOP, log=False)
    parts = _frame(x, y, "share of inputs on which a latent fires", "latents")
    for count, a, b in zip(counts, edges[:-1], edges[1:], strict=True):
        left, right, top = x.at(a), x.at(b), y.at(int(count))
        words = escape(f"{count} latents fire on {100 * a:.3g} to {100 * b:.3g} % of the inputs")
        place = f'x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" height="{y.at(0) - top:.1f}"'
        parts.append(f'<rect {place} fill="{COLORS[0]}"><title>{words}</title></rect>')
    return _svg(parts, "how often latents fire")


def _frame(x: _Axis, y: _Axis, across: str, up: str) -> list[str]:
    parts = []
    for tick in y.ticks():
        height = y.at(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    for tick in x.ticks():
        place = f'x="{x.at(tick):.1f}" y="{_HEIGHT - _BOTTOM + 16:.1f}"'
        parts.append(f'<text {place} text-anchor="middle">{tick:.4g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 6:.1f}" text-anchor="middle">{escape(across)}</text>')
    parts.append(f'<text x="0" y="{_TOP - 5:.1f}">{escape(up)}</text>')
    return parts


def _svg(parts: Sequence[str], label: str) -> str:
    box = f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(label)}"'
    return f"<svg {box}>{''.join(parts)}</svg>"
