"""
A claim is a row of evidence: a JSON file with every figure behind it, rendered with all others into docs/evidence.md.

``python -m benchmarks.evidence`` renders. A benchmark calls `write_row` with its figures per seed.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from anysize.core.errors import AnysizeError
from anysize.core.files import write_bytes, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "evidence.md"
OUTCOMES = ("won", "tied", "lost", "mixed")
PACKAGES = (
    "anysize", "torch", "numpy", "transformers", "sentence-transformers", "faiss-cpu", "qdrant-client", "scikit-learn",
    "sionna-no-rt",
)  # fmt: skip
_SIZE = re.compile(r"\d+|\w+=\d+(,\w+=\d+)*")


def write_row(
    name: str,
    *,
    paper: str,
    claim: str,
    reported: str,
    arms: Sequence[str],
    metric: str,
    values: Mapping[str, Any],
    outcome: Literal["won", "tied", "lost", "mixed"],
    note: str,
    command: str,
    data: str,
    results: Path = RESULTS,
) -> Path:
    """
    Write `results`/`name`.json, in one step, and return where it stands.

    `name` is ``<system>-<claim>``. `values` holds figures by arm and size, or by metric, arm and size; a list is one
    figure per seed, of which mean and spread are added. `note` begins with the sentence that the summary shows.
    Hardware, versions and the date are added. Raises `AnysizeError` for a name, outcome or figure that cannot stand.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9.]+)+", name):
        raise AnysizeError(f"{name!r} cannot name a row; write <system>-<claim> in lower case, for example mrl-search")
    if outcome not in OUTCOMES:
        raise AnysizeError(f"{outcome!r} is not an outcome; expected one of {', '.join(OUTCOMES)}")
    plain = _plain(values, name)
    words = {"paper": paper, "claim": claim, "reported": reported, "metric": metric, "note": note}
    row = {
        "name": name,
        **{key: " ".join(text.split()) for key, text in words.items()},
        "arms": list(arms),
        "outcome": outcome,
        "values": plain,
        "summary": _summary(plain),
        "command": command,
        "data": data,
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    results.mkdir(parents=True, exist_ok=True)
    write_json(results / f"{name}.json", row)
    return results / f"{name}.json"


def hardware() -> dict[str, Any]:
    """The processor, how many cores may be used, the memory, and where torch is loaded its threads and GPU."""
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1e6),
    }
    if torch is not None:
        found["torch_threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def versions() -> dict[str, str]:
    """Python and the packages that figures depend on, as installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def render(results: Path = RESULTS) -> str:
    """All rows as one Markdown page, by name. Raises `AnysizeError`, naming the file, if one cannot be read."""
    rows = [_read(file) for file in sorted(results.glob("*.json"))]
    count = {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in OUTCOMES}
    lines = [
        "# Evidence",
        "",
        "Every claim that this project makes, with the figures behind it. Rendered from `benchmarks/results` by "
        "`make evidence`; do not edit.",
        "",
        f"{len(rows)} claims: " + ", ".join(f"{many} {outcome}" for outcome, many in count.items() if many) + ".",
        "",
        "| system | claim | the paper reports | outcome | figures |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"[{row['name'].split('-')[0]}](#{_anchor(row['name'])})", row["claim"], row["reported"]]
        cells += [f"**{row['outcome']}**", _first_sentence(row["note"])]
        lines.append(_table_row(cells))
    for row in rows:
        lines += ["", *_section(row)]
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
    if isinstance(value, list) and value and all(_is_number(one) for one in value):
        summary = _summary(value)
        return _number(summary["mean"]) + (f" ± {_number(summary['std'])}" if len(value) > 1 else "")
    return _number(value) if _is_number(value) else str(value)


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if 0 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def _summary(value: Any) -> Any:
    """The same names, with each list of figures replaced by its mean and (sample) standard deviation."""
    if isinstance(value, Mapping):
        found = {name: _summary(inner) for name, inner in value.items()}
        return {name: inner for name, inner in found.items() if inner is not None}
    if isinstance(value, list) and value and all(_is_number(one) for one in value):
        std = statistics.stdev(value) if len(value) > 1 else 0.0
        return {"mean": statistics.fmean(value), "std": std, "seeds": len(value)}
    return None


def _plain(value: Any, name: str) -> Any:
    """As JSON values: names are text, numpy figures are numbers. Raises `AnysizeError` for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{name} {key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, name) for inner in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise AnysizeError(f"{name} is {value}; a figure of evidence is a finite number")
    if not isinstance(value, str | int | float | None):
        raise AnysizeError(f"{name} is {type(value).__name__}, which JSON cannot hold")
    return value


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


def _field(path: str, name: str) -> str:
    """The first ``name : value`` of a file of the kernel's, empty where there is none."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;])\s", text, maxsplit=1)[0].rstrip(";.")


def _table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _anchor(name: str) -> str:
    """As GitHub makes one from a heading."""
    return re.sub(r"[^a-z0-9-]", "", name.lower())


def main() -> None:
    """Render every row into docs/evidence.md."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(PAGE, render().encode())
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
