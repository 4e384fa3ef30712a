"""Some questions with what is answered at each budget, under the picture with the grid that the model saw."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from anysize.backbones.vision.pictures import picture
from anysize.core.frontier.panel import Panel
from anysize.core.frontier.records import NESTED
from anysize.core.verbs.measure import has_seen
from anysize.evaluation.answers import plain, questions_of, right
from anysize.tokens.vlm.asking import known
from anysize.tokens.vlm.seen import SAYS, Seen, seen

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.frontier import Frontier
    from anysize.tokens.vlm.model import NestedVLM

LOOKED_AT, SHOWN = 96, 6
"""Questions that are looked at, spread over all, and how many of them are shown."""
_SIDE = 144
_STYLE = """.asked { margin: 1rem 0 1.6rem; } .asked h3 { margin: 0; font-size: 1rem; }
.asked p { margin: .1rem 0 .5rem; }
.asked ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); }
.asked svg { max-width: 160px; border-radius: 4px; } .asked svg text { font: inherit; }
.asked svg path { stroke: #fff; stroke-width: 1.6; vector-effect: non-scaling-stroke; mix-blend-mode: difference; }
.asked b { overflow-wrap: anywhere; }"""


def pictures(model: NestedVLM, data: Data, frontier: Frontier) -> Panel | None:
    """
    Questions of the data that were measured on, chosen so that for each budget one is the fewest that answers.

    Of up to `LOOKED_AT` questions spread over all, one is shown for each budget and one that none answers.
    """
    asked = questions_of(data, "held out" if has_seen(model, data) else "all")
    every = max(1, len(asked.rows) // LOOKED_AT)
    there = [row for row in range(0, len(asked.rows), every) if any(map(plain, asked.answers[row]))][:LOOKED_AT]
    views = [model.at(size) for size in sorted((one.size for one in frontier.arm(NESTED)), key=lambda one: one.tokens)]
    if not there:
        return None
    read = model.read([asked.rows[row] for row in there])
    said = [view.answers(read, max_new_tokens=16) for view in views]
    marks = [[right(one, asked.answers[row]) >= 0.5 for one, row in zip(each, there, strict=True)] for each in said]
    parts = []
    for place in chosen(np.array(marks).T, [known(asked.rows[row][0]["image"]) for row in there]):
        shown, question = (next(iter(part.values())) for part in asked.rows[there[place]])
        opened = picture(shown)
        name, found = f"picture-{place}", [seen(view, opened) for view in views]
        cells = "".join(
            f"<li>{_drawn(name, one)}<p><b>{escape(each[place]) or '(no words)'}</b><br>"
            f'<span class="soft">{"✓" if good[place] else "✗"} {counted(int(view.size.tokens))}</span></p></li>'
            for view, one, each, good in zip(views, found, said, marks, strict=True)
        )
        wanted = escape(" / ".join(dict.fromkeys(asked.answers[there[place]])))
        parts.append(
            f'{_embedded(name, model.vlm.seen(opened))}<article class="asked"><h3>{escape(question)}</h3>'
            f'<p class="soft">Expected: {wanted}</p><ol>{cells}</ol></article>'
        )
    body = f'<p class="soft">{SAYS[model.spec.get("mode", "queries")]} ✓ marks right answers.</p>{"".join(parts)}'
    return Panel(f"{len(parts)} questions at each budget", body, _STYLE)


def chosen(marks: np.ndarray, shown: Sequence[Any]) -> list[int]:
    """
    Places of up to `SHOWN` questions, of marks (questions, budgets) and the picture of each.

    In turn one of those that each budget is the fewest to answer, cheapest first, and one that none answers; pictures
    that are not shown yet go first.
    """
    fewest = np.where(marks.any(1), marks.argmax(1), marks.shape[1])
    groups = [np.flatnonzero(fewest == budget).tolist() for budget in range(marks.shape[1] + 1)]
    found: list[int] = []
    while len(found) < min(SHOWN, len(marks)):
        for group in filter(None, groups):
            fresh = [place for place in group if shown[place] not in {shown[one] for one in found}]
            found.append((fresh or group)[0])
            group.remove(found[-1])
    found = found[:SHOWN]
    return sorted(found, key=lambda place: (fewest[place], place))


def counted(tokens: int) -> str:
    """``1 token``, ``4 tokens``."""
    return f"{tokens} token{'' if tokens == 1 else 's'}"


def _embedded(name: str, shown: Any) -> str:
    """A picture as part of the page, drawn by name as often as wanted."""
    file = io.BytesIO()
    small = shown.copy()
    small.thumbnail((_SIDE, _SIDE))
    small.save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode()
    image = (
        f'<image id="{name}" width="100" height="100" preserveAspectRatio="none" href="data:image/jpeg;base64,{data}"/>'
    )
    return f'<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>{image}</defs></svg>'


def _drawn(name: str, found: Seen) -> str:
    """A picture with its grid; what is not looked at is covered."""
    wide, high = 100 / found.columns, 100 / found.rows
    covers = [
        f'<rect x="{place % found.columns * wide:.2f}" y="{place // found.columns * high:.2f}" width="{wide:.2f}" '
        f'height="{high:.2f}" style="fill:var(--paper);fill-opacity:{0.85 * (1 - share):.2f}"/>'
        for place, share in enumerate(found.shares)
        if share < 1
    ]
    lines = [f"M{line * wide:.2f} 0V100" for line in range(1, found.columns)]
    lines += [f"M0 {line * high:.2f}H100" for line in range(1, found.rows)]
    says = f"the picture in {found.rows} by {found.columns} cells"
    grid = f'<path d="{"".join(lines)}"/>' if lines and not covers else ""
    return (
        f'<svg viewBox="0 0 100 100" role="img" aria-label="{says}"><use href="#{name}"/>{"".join(covers)}{grid}</svg>'
    )
