"""What the page of a book shows besides: gain against feedback bits, who gets how much, and where the beams look."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.beams.measuring.evaluator import GAIN
from anysize.core.frontier.panel import Panel
from anysize.core.frontier.records import NESTED
from anysize.core.frontier.style import apart, colors

if TYPE_CHECKING:
    from anysize.core.frontier.frontier import Frontier
    from anysize.core.frontier.record import Record

_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _LOW = 420, 250, 44, 70, 12, 38
_AZIMUTH, _ZENITH = np.arange(-75, 76, 2.5), np.arange(60, 121, 2.5)
_FLOOR = 20.0  # dB below the panel's whole gain that are still shown
_STYLE = """figure.beams { display: flex; flex-wrap: wrap; gap: 1rem; overflow: visible; }
figure.beams svg { min-width: 0; width: 420px; font-size: 11px; }
figure.beams svg circle { stroke: none; }
figure.beams figcaption { flex-basis: 100%; }
.look canvas { width: 100%; max-width: 760px; height: auto; image-rendering: auto; border-radius: 6px; }
.look label { display: block; max-width: 760px; color: var(--soft); }
.look input { width: 100%; accent-color: var(--accent); }"""


def by_bits(model: Any, data: Any, frontier: Frontier) -> Panel | None:
    """Each arm's gap to the bound over the bits of an index; nothing where one size was measured."""
    arms = {
        arm: sorted((one.metrics["feedback_bits"], one.metrics["gap_db"]) for one in _whole(frontier, arm))
        for arm in frontier.arms
    }
    if len(arms.get(NESTED, ())) < 2:
        return None
    body = _chart(arms, "feedback bits of an index", "dB to the bound")
    told = "The mean over links of the gain in dB below the best beam that each link could have."
    return Panel("Gain against feedback bits", _figure([body], told), _STYLE)


def by_link(model: Any, data: Any, frontier: Frontier) -> Panel | None:
    """For each length of sweep the share of all links below a gain, a line an arm; nothing of an older frontier."""
    charts = []
    for record in sorted(_whole(frontier, NESTED), key=lambda one: int(one.size["beams"])):
        found = {one.arm: one.quantiles.get(GAIN, []) for one in frontier.records if one.size == record.size}
        lines = {arm: [*zip(gains, np.linspace(0, 100, len(gains)), strict=True)] for arm, gains in found.items()}
        if all(lines.values()):
            charts.append(_chart(lines, f"array gain in dB, {record.size['beams']} beams", "% of links"))
    told = "The share of links whose array gain is no more than this, over all links, in steps of one in a hundred."
    return Panel("Who gets how much", _figure(charts, told), _STYLE) if charts else None


def _whole(frontier: Frontier, arm: str) -> list[Record]:
    """An arm's records at the most of every axis but the number of beams."""
    most = max((one.size for one in frontier.arm(arm)), key=lambda size: tuple(size.values()))
    return [one for one in frontier.arm(arm) if one.size.replace(beams=most["beams"]) == most]


def patterns(model: Any, data: Any, frontier: Frontier) -> Panel:
    """Azimuth x elevation of the strongest of the first K beams, as K moves."""
    beams = model.array()
    gain = 10 * np.log10(model.panel.pattern(beams, _AZIMUTH, _ZENITH).clip(1e-6))  # (k, azimuths, zeniths)
    top = 10 * np.log10(model.panel.elements)
    levels = np.rint(np.clip((gain - top + _FLOOR) / _FLOOR, 0, 1) * 255).astype(np.uint8)
    said = {"wide": len(_AZIMUTH), "high": len(_ZENITH), "levels": base64.b64encode(levels.tobytes()).decode()}
    count, wide, high = len(beams), len(_AZIMUTH), len(_ZENITH)
    left, right, up, down = _AZIMUTH[-1], _AZIMUTH[0], 90 - _ZENITH[0], 90 - _ZENITH[-1]
    body = (
        f'<div class="look"><label>The first <b id="look-says">{count}</b> beams'
        f'<input id="look-k" type="range" min="1" max="{count}" value="{count}"></label>'
        f'<canvas id="look" width="{wide}" height="{high}" role="img" '
        'aria-label="Gain of the strongest beam over azimuth and elevation"></canvas>'
        f'<p class="soft">Azimuth from {left:.0f} degrees (left, as the panel looks) to {right:.0f}, elevation from '
        f"{up:.0f} down to {down:.0f}. Bright is {top:.0f} dB, dark {_FLOOR:.0f} dB less.</p>"
        f'<script type="application/json" id="look-data">{json.dumps(said)}</script><script>{_SCRIPT}</script></div>'
    )
    return Panel("Where the beams look", body, _STYLE)


_SCRIPT = """
{
  const data = JSON.parse(document.getElementById("look-data").textContent);
  const levels = Uint8Array.from(atob(data.levels), one => one.charCodeAt(0));
  const canvas = document.getElementById("look"), range = document.getElementById("look-k");
  const draw = () => {
    const context = canvas.getContext("2d"), image = context.createImageData(data.wide, data.high);
    for (let a = 0; a < data.wide; a++) for (let z = 0; z < data.high; z++) {
      let best = 0;
      for (let k = 0; k < range.value; k++) best = Math.max(best, levels[(k * data.wide + a) * data.high + z]);
      const t = best / 255, at = 4 * (z * data.wide + data.wide - 1 - a);
      const color = [255 * Math.min(1, 1.5 * t), 255 * Math.max(0, 1.6 * t - 0.6), 90 + 480 * (1 - t) * t, 255];
      image.data.set(color, at);
    }
    context.putImageData(image, 0, 0);
    document.getElementById("look-says").textContent = range.value;
  };
  range.addEventListener("input", draw);
  draw();
}
"""


def _ticks(low: float, high: float) -> list[int]:
    """About five whole numbers, spread from the first to the last between these values."""
    return sorted({round(value) for value in np.linspace(np.ceil(low), np.floor(high), 5).tolist()})


def _figure(charts: Sequence[str], caption: str) -> str:
    return f'<figure class="beams">{"".join(charts)}<figcaption>{escape(caption)}</figcaption></figure>'


def _chart(lines: dict[str, list[tuple[float, float]]], across: str, up: str) -> str:
    """A line for each arm through its points, with a few ticks on both sides."""
    points = np.array([point for found in lines.values() for point in found])
    (left, low), (right, high) = points.min(0), points.max(0)
    wide, tall = _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _LOW

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = (point[0] - left) / max(right - left, 1e-9)
        return _LEFT + wide * x, _TOP + tall * (1 - (point[1] - low) / max(high - low, 1e-9))

    parts, palette = [], colors(tuple(lines))
    for value in _ticks(low, high):
        y = place((left, value))[1]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for value in _ticks(left, right):
        x = place((value, low))[0]
        parts.append(f'<text x="{x:.1f}" y="{_HIGH - _LOW + 16}" text-anchor="middle">{value}</text>')
    parts.append(f'<text x="{_LEFT + wide / 2:.0f}" y="{_HIGH - 4}" text-anchor="middle">{escape(across)}</text>')
    ends = sorted((place(found[-1])[1], arm) for arm, found in lines.items())
    for (_, arm), height in zip(ends, apart([end for end, _ in ends], 13), strict=True):
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, lines[arm]))
        parts.append(f'<path d="{path}" stroke="{palette[arm]}" stroke-width="{3 if arm == NESTED else 2}"/>')
        parts.append(
            f'<text x="{_WIDE - _RIGHT + 8}" y="{height + 4:.1f}" style="fill:{palette[arm]}">{escape(arm[:10])}</text>'
        )
    label = escape(f"{up} over {across}; the table below has the figures")
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
