"""Rows of evidence as Markdown: one page that tells every claim in a line, and a page of figures for each system."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anysize.core.errors import AnysizeError

OUTCOMES = ("won", "tied", "lost", "mixed")
TWO_WORDS = ("matryoshka-sae",)
"""Systems whose name is more than the first word of a row's."""
LONGEST = 300
"""Characters of a note that the summary shows, where its first sentence is no shorter."""
_SIZE = re.compile(r"\d+|\w+=\d+(,\w+=\d+)*")


def pages(results: Path) -> dict[str, str]:
    """The text of each page by its name under docs. Raises `AnysizeError`, naming the file, if a row cannot be read."""
    rows = [_read(file) for file in sorted(results.glob("*.json"))]
    found = {"evidence.md": _overview(rows)}
    for name in sorted({system(row["name"]) for row in rows}):
        lines = [f"# Evidence: {name}", "", "Rendered from `benchmarks/results` by `make evidence`; do not edit. "]
        lines[-1] += "[All claims](../evidence.md)."
        for row in rows:
            if system(row["name"]) == name:
                lines += ["", *_section(row)]
        found[f"evidence/{name}.md"] = "\n".join(lines) + "\n"
    return found


def system(name: str) -> str:
    """The system that a row called `name` is about."""
    return next((one for one in TWO_WORDS if name.startswith(one)), name.split("-")[0])


def _overview(rows: Sequence[Mapping[str, Any]]) -> str:
    count = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in OUTCOMES}
    lines = [
        "# Evidence",
        "",
        "Every claim that this project makes, with the figures behind it a link away. Rendered from "
        "`benchmarks/results` by `make evidence`; do not edit.",
        "",
        f"{len(rows)} claims: " + ", ".join(f"{many} {outcome}" for outcome, many in count.items() if many) + ".",
        "",
        "| system | claim | the paper reports | outcome | figures |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        name = system(row["name"])
        cells = [f"[{name}](evidence/{name}.md#{_anchor(row['name'])})", row["claim"], row["reported"]]
        lines.append(_table_row([*cells, f"**{row['outcome']}**", _first_words(row["note"])]))
    return "\n".join(lines) + "\n"


def _section(row: Mapping[str, Any]) -> list[str]:
    machine = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in row["hardware"].items())
    packages = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    return [
        f"## {row['name']}",
        "",
        f"**{row['claim']}**: {row['outcome']}.",
        "",
        row["note"],
        "",
        f"- paper: {row['paper']}",
        f"- reported there: {row['reported']}",
        f"- metric: {row['metric']}",
        f"- data: {row['data']}",
        f"- command: `{row['command']}`",
        f"- run on {row['date']}: {machine}",
        f"- versions: {packages}",
        *_tables(row["values"], 3),
    ]


def _tables(values: Mapping[str, Any], level: int) -> list[str]:
    """Single figures first, then a table for each two levels of names, deeper levels under headings."""
    lines: list[str] = []
    single = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in values.items() if isinstance(value, Mapping) and value}
    flat = {name: value for name, value in nested.items() if not any(isinstance(v, Mapping) for v in value.values())}
    deep = {name: value for name, value in nested.items() if name not in flat}
    if single:
        lines += ["", "| | |", "|---|---|", *(_table_row([name, _figure(value)]) for name, value in single.items())]
    if flat:
        lines += ["", *_grid(flat)]
    for name, value in deep.items():
        lines += ["", f"{'#' * min(level, 6)} {name}", *_tables(value, level + 1)]
    return lines


def _grid(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Two levels of names as a table: a row for each size where the inner names are sizes, else for each outer one."""
    inner = list(dict.fromkeys(name for row in rows.values() for name in row))
    if all(_SIZE.fullmatch(name) for name in inner):
        down, across, corner = inner, list(rows), "size"
        cells = [[rows[column].get(name) for column in across] for name in down]
    else:
        down, across, corner = list(rows), inner, ""
        cells = [[rows[name].get(column) for column in across] for name in down]
    head = [_table_row([corner, *across]), "|---|" + "---:|" * len(across)]
    return [*head, *(_table_row([name, *map(_figure, row)]) for name, row in zip(down, cells, strict=True))]


def _figure(value: Any) -> str:
    """A figure as it is printed: mean and standard deviation of several seeds."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and value and all(is_number(one) for one in value):
        told = summary(value)
        return _number(told["mean"]) + (f" ± {_number(told['std'])}" if len(value) > 1 else "")
    return _number(value) if is_number(value) else str(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def summary(value: Any) -> Any:
    """The same names, with each list of figures replaced by its mean and (sample) standard deviation."""
    if isinstance(value, Mapping):
        found = {name: summary(inner) for name, inner in value.items()}
        return {name: inner for name, inner in found.items() if inner is not None}
    if isinstance(value, list) and value and all(is_number(one) for one in value):
        std = statistics.stdev(value) if len(value) > 1 else 0.0
        return {"mean": statistics.fmean(value), "std": std, "seeds": len(value)}
    return None


def _read(file: Path) -> dict[str, Any]:
    needed = ("name", "paper", "claim", "reported", "metric", "outcome", "note", "values", "command", "data")
    try:
        row = json.loads(file.read_text("utf-8"))
        missing = [key for key in (*needed, "hardware", "versions", "date") if key not in row]
    except (ValueError, TypeError, OSError) as error:
        raise AnysizeError(f"{file} is not a row of evidence ({error})") from None
    if missing:
        raise AnysizeError(f"{file} is not a row of evidence: it lacks {', '.join(missing)}")
    return row


def is_number(value: Any) -> bool:
    """Whether a value is a figure; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first_words(text: str) -> str:
    """The first sentence; of a long one, whole parts between semicolons, none of them cut inside of a bracket."""
    parts = re.split(r"(?<=[.;])\s", text)
    said = parts[0]
    for part in parts[1:]:
        open_bracket = said.count("(") > said.count(")")
        if not open_bracket and (said.endswith(".") or len(said) + len(part) > LONGEST):
            break
        said += f" {part}"
    return said.rstrip(";.")


def _table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _anchor(name: str) -> str:
    """As GitHub makes one from a heading."""
    return re.sub(r"[^a-z0-9-]", "", name.lower())
