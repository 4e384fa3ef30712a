"""What `look` gathered, as one self-contained page: charts, a search box, and every latent to be read one by one."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from anysize.core.frontier.html import filled
from anysize.sparse.looking.charts import curves, frequencies, key, law
from anysize.sparse.looking.gather import DENSE, Looked

_LONGEST = 240


def page(looked: Looked) -> str:
    """The page as text. It loads nothing, and every word that came from data is escaped."""
    by_latents = {name: line for name, line in looked.curves.items() if name.startswith("latents")}
    by_rank = {name: line for name, line in looked.curves.items() if name not in by_latents}
    return filled(
        "anysize.sparse.looking",
        title=escape(looked.title),
        facts=" ".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in looked.facts.items()),
        counts=escape(_counts(looked)),
        levels=_levels(looked),
        levels_on=escape(looked.levels_on),
        by_latents=curves(by_latents, "latents kept"),
        key=key(list(by_latents)),
        by_rank=curves(by_rank, "strongest activations kept"),
        law=law(looked.importance, looked.law) if looked.importance else "",
        verdict=escape(_verdict(looked)),
        frequencies=frequencies(looked.frequencies),
        data=_data(looked),
    )


def _counts(looked: Looked) -> str:
    return (
        f"{looked.dead:,} of {looked.count:,} latents are dead on these inputs, and {looked.dense:,} are dense: they "
        f"fire on more than {100 * DENSE:.0f} % of them."
    )


def _verdict(looked: Looked) -> str:
    law = looked.law
    if law is None:
        return "Too few latents are alive to fit a power law."
    by_verdict: dict[str, list[str]] = {}
    for rival in law.rivals:
        how = {"power law": "likelier than", "undecided": "as likely as"}.get(rival.verdict, "less likely than")
        by_verdict.setdefault(how, []).append(rival.name)
    against = "; ".join(f"{how} {', '.join(names)}" for how, names in by_verdict.items())
    line = f"Slope {law.slope:.2f}, R² {law.r2:.3f} over ranks {law.first} to {law.last} (dashed)."
    return f"{line} A power law is {against}." if against else line


def _levels(looked: Looked) -> str:
    lines = [
        "<table><thead><tr><th>size</th><th>FVU</th><th>cosine</th><th>active</th><th>dead</th></tr></thead><tbody>"
    ]
    for level in looked.levels:
        figures = (f"{level.fvu:.4f}", f"{level.cosine:.4f}", f"{level.l0:.1f}", f"{100 * level.dead:.1f} %")
        cells = "".join(f"<td>{figure}</td>" for figure in figures)
        lines.append(f"<tr><td>{escape(level.size)}</td>{cells}</tr>")
    return "".join([*lines, "</tbody></table>"])


def _data(looked: Looked) -> str:
    """What the script reads. Inside a script element only ``<`` can do harm, so it is written as an escape."""
    value: dict[str, Any] = {
        "inputs": {str(row): _shortened(text) for row, text in looked.inputs.items()},
        "latents": [
            {
                "id": one.latent,
                "name": one.name,
                "sim": _round(one.similarity),
                "ok": one.accepted,
                "level": one.level,
                "freq": _round(one.frequency),
                "energy": _round(one.energy),
                "max": _round(one.largest),
                "rows": one.rows,
                "values": [_round(value) for value in one.values],
                "bins": one.histogram,
                "parents": [
                    {"id": p.latent, "share": _round(p.share), "base": _round(p.base), "cos": _round(p.cosine)}
                    for p in one.parents
                ],
            }
            for one in looked.latents
        ],
    }
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
