"""What the page of a coder shows below its chart: documents with gold and found spans side by side, errors first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from anysize.coding.reading.data import coding_data
from anysize.coding.records.documents import Document, Span
from anysize.core.data.data import Data
from anysize.core.frontier.panel import Panel

SHOWN = 60
"""Documents on a page; a text is shown up to 1,500 characters."""

_STYLE = """
.coded { display: grid; grid-template-columns: 1fr 1fr; gap: 0 2rem; border-top: 1px solid var(--line) }
.coded p { margin: .5rem 0; white-space: pre-wrap }
.coded mark { background: var(--card); color: inherit; padding: 0 .15em; border-bottom: 2px solid var(--line) }
.coded mark.off { border-color: var(--accent) }
.coded small { color: var(--soft) }
@media (max-width: 720px) {
  .coded { grid-template-columns: 1fr }
  .coded p::before { content: "annotators: "; color: var(--soft) }
  .coded p + p::before { content: "coder: " }
}
"""


def browser(model: Any, data: Data, frontier: Any) -> Panel | None:
    """The documents that were measured on, at the full size, those with most errors first."""
    learnt = model.about.get("data", {}).get("fingerprint") == data.fingerprint
    documents = coding_data(data).to_measure(learnt)
    if not documents:
        return None
    coded = model.code([one.text for one in documents])
    rows = []
    for document, found in zip(documents, coded, strict=True):
        gold = {(one.start, one.end, one.code) for one in document.spans}
        mine = {(one.start, one.end, one.code) for one in found.spans}
        rows.append((len(gold ^ mine), document, found.spans))
    rows.sort(key=lambda one: -one[0])
    wrong = sum(errors > 0 for errors, _, _ in rows)
    head = (
        f"<p class='soft'>{len(rows) - wrong} of {len(rows)} documents have exactly the annotators' spans and codes. "
        f"Left (or above) the annotators, right (or below) the coder; marked are spans that the other lacks. The first "
        f"{min(SHOWN, len(rows))}, most errors first.</p>"
    )
    parts = [_row(document, spans, model.dictionary.names) for _, document, spans in rows[:SHOWN]]
    return Panel("Documents", head + "".join(parts), _STYLE)


def _row(document: Document, found: Sequence[Span], names: Mapping[str, str]) -> str:
    sides = [
        _side(document.text, mine, {(one.start, one.end, one.code) for one in other}, names)
        for mine, other in ((document.spans, found), (found, document.spans))
    ]
    return f"<div class='coded'><p>{sides[0]}</p><p>{sides[1]}</p></div>"


def _side(text: str, spans: Sequence[Span], other: set[Any], names: Mapping[str, str]) -> str:
    """A text with its spans marked; of two that overlap the second is told at its end alone."""
    parts, at = [], 0
    for span in sorted(spans):
        start = max(at, span.start)
        kind = "" if (span.start, span.end, span.code) in other else " class='off'"
        title = escape(names.get(span.code or "", ""), quote=True)
        code = f"<small title='{title}'> {escape(span.code or '?')}</small>"
        parts.append(f"{escape(text[at:start])}<mark{kind}>{escape(text[start : max(start, span.end)])}{code}</mark>")
        at = max(start, span.end)
        if at > 1500:
            return "".join(parts) + " ..."
    return "".join(parts) + escape(text[at:1500])
