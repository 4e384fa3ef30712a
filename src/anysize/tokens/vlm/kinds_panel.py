"""Accuracy against tokens, a line for each kind of question."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from anysize.core.frontier.panel import Panel
from anysize.core.frontier.records import NESTED
from anysize.core.frontier.style import RIVALS, apart, number

if TYPE_CHECKING:
    from anysize.core.frontier.frontier import Frontier

_KIND = "accuracy_"
_WIDE, _HIGH, _LEFT, _RIGHT, _TOP, _LOW = 360, 230, 32, 96, 10, 36
_STYLE = """figure.kinds { overflow: visible; max-width: 480px; }
figure.kinds svg { min-width: 0; font-size: 11px; }
figure.kinds svg circle { stroke: none; }"""


def by_kind(model: Any, data: Any, frontier: Frontier) -> Panel | None:
    """The nested arm's `accuracy_KIND` at each size, drawn and as a table; nothing where kinds were not told."""
    records = sorted(frontier.arm(NESTED), key=lambda record: int(record.size["tokens"]))
    kinds = [name for name in records[-1].metrics if name.startswith(_KIND)]
    if not kinds or len(records) < 2:
        return None
    tokens = [int(record.size["tokens"]) for record in records]
    lines = {kind.removeprefix(_KIND): [record.metrics[kind] for record in records] for kind in kinds}
    return Panel("Accuracy by kind of question", f"{_chart(tokens, lines)}{_table(tokens, lines)}", _STYLE)


def _chart(tokens: list[int], lines: dict[str, list[float]]) -> str:
    wide, high = _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _LOW
    first, last = math.log2(tokens[0]), math.log2(tokens[-1])
    across = [_LEFT + wide * (math.log2(one) - first) / (last - first) for one in tokens]
    parts = []
    for tick in range(0, 101, 25):
        y = _TOP + high * (1 - tick / 100)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>')
    for x, count in zip(across, tokens, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{_HIGH - _LOW + 16}" text-anchor="middle">{count}</text>')
    middle = _LEFT + wide / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HIGH - 4}" text-anchor="middle">tokens a picture</text>')
    ends = sorted((_TOP + high * (1 - values[-1]), place) for place, values in enumerate(lines.values()))
    names = list(lines)
    for (_, place), y in zip(ends, apart([height for height, _ in ends], 14), strict=True):
        kind, color = names[place], RIVALS[place % len(RIVALS)]
        points = [(x, _TOP + high * (1 - value)) for x, value in zip(across, lines[kind], strict=True)]
        path = "M" + "L".join(f"{x:.1f} {height:.1f}" for x, height in points)
        parts.append(f'<path d="{path}" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{height:.1f}" r="3" fill="{color}"/>' for x, height in points]
        parts.append(f'<text x="{_WIDE - _RIGHT + 8}" y="{y + 4:.1f}" style="fill:{color}">{escape(kind[:16])}</text>')
    box = f'viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="Accuracy by kind; the table below has the figures"'
    return (
        f'<figure class="kinds"><svg {box}>{"".join(parts)}</svg>'
        "<figcaption>Accuracy in percent; the number of tokens on a logarithmic scale.</figcaption></figure>"
    )


def _table(tokens: list[int], lines: dict[str, list[float]]) -> str:
    heads = "".join(f'<th scope="col">{count}</th>' for count in tokens)
    rows = []
    for kind, values in lines.items():
        cells = "".join(f'<td style="--share:{54 * value:.0f}%">{number(value)}</td>' for value in values)
        rows.append(f'<tr><th scope="row">{escape(kind)}</th>{cells}</tr>')
    head = f'<tr><th scope="col">kind \\ tokens</th>{heads}</tr>'
    return f'<div class="wide" tabindex="0"><table class="cells">{head}{"".join(rows)}</table></div>'
