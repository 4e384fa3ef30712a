"""What the page of an edited model shows besides: first what the rest of the model pays, then what each arm says."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from anysize.core.frontier.panel import Panel
from anysize.core.frontier.records import NESTED, ORIGINAL
from anysize.editing.measuring.scores import agreement
from anysize.editing.requests.readers import requests_of

if TYPE_CHECKING:
    from anysize.core.data.data import Data
    from anysize.core.frontier.frontier import Frontier

_PAID = {
    "other_nll_change": "loss of other prompts",
    "other_top1_kept": "first choice kept",
    "text_nll_change": "loss of texts",
    "text_top1_kept": "first choice kept",
}
_STYLE = """.paid { overflow-x: auto; } .paid table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.paid th, .paid td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
.paid th:first-child, .paid td:first-child { text-align: left; padding-left: 0; white-space: nowrap; }
.edit { margin: 1rem 0 1.6rem; } .edit h3 { margin: 0 0 .3rem; font-size: 1rem; }
.edit dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: .35rem .9rem; }
.edit dt { color: var(--soft); } .edit dd { margin: 0; overflow-wrap: anywhere; }
.edit mark { background: color-mix(in srgb, var(--accent) 16%, transparent); color: inherit; border-radius: 3px; }
@media (max-width: 520px) {
  .paid table { font-size: .8rem; } .paid th, .paid td { padding: .25rem .3rem; white-space: normal; }
  .paid td:first-child { white-space: normal; }
  .edit dl { grid-template-columns: 1fr; gap: .1rem; } .edit dd { margin-bottom: .5rem; }
}"""


def locality(model: Any, data: Data, frontier: Frontier) -> Panel | None:
    """Of every arm and size, how losses rose where nothing was edited, and how often the first choice stayed."""
    rows = [one for one in frontier.records if one.arm != ORIGINAL and "other_nll_change" in one.metrics]
    if not rows:
        return None
    head = "".join(f"<th>{escape(what)}</th>" for what in ("arm", *_PAID.values()))
    body = "".join(
        f"<tr><td>{escape(one.arm)}, {escape(str(one.size))}</td>"
        + "".join(f"<td>{_figure(name, one.metrics.get(name))}</td>" for name in _PAID)
        + "</tr>"
        for one in rows
    )
    told = (
        "In nats per token, on prompts and texts that no edit is about. A score on paraphrases says little where other "
        "prompts pay as well: then the edit leaks into every prompt."
    )
    table = f'<div class="paid"><table><tr>{head}</tr>{body}</table></div><p class="soft">{told}</p>'
    return Panel("What the rest of the model pays", table, _STYLE)


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if name.endswith("kept") else f"{value:+.3f}"


ONLY = ' <em class="soft">(for this prompt alone: its paraphrase is not answered so)</em>'


def answers(model: Any, data: Data, frontier: Frontier) -> Panel | None:
    """Of each edit its target and what each arm says at its full size, word by word beside the target."""
    said = {
        (one["arm"], one["size"]): [*zip(one["said"], one.get("only", [0.0] * len(one["said"])), strict=True)]
        for one in frontier.meta.get("said", ())
    }
    if not said:
        return None
    arms = [arm for arm in (ORIGINAL, NESTED, *frontier.arms) if arm in frontier.arms]
    full = {arm: said.get((arm, str(frontier.full(arm).size)), []) for arm in dict.fromkeys(arms)}
    parts = []
    for place, request in enumerate(requests_of(data)[: max(map(len, full.values()))]):
        rows = f"<dt>target</dt><dd>{escape(request.target_new)}</dd>"
        for arm, texts in full.items():
            if place < len(texts):
                words, only = texts[place]
                rows += f"<dt>{escape(arm)}</dt><dd>{_marked(words, request.target_new)}{ONLY if only else ''}</dd>"
        parts.append(f'<div class="edit"><h3>{escape(request.prompt)}</h3><dl>{rows}</dl></div>')
    told = "Words that belong to the longest common sequence with the target are marked."
    return Panel("What each arm says", f'{"".join(parts)}<p class="soft">{told}</p>', _STYLE)


def _marked(said: str, wanted: str) -> str:
    words = [f"<mark>{escape(word)}</mark>" if same else escape(word) for word, same in agreement(said, wanted)]
    return " ".join(words).replace("</mark> <mark>", " ") or "(nothing)"
