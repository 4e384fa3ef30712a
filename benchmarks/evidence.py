"""
A claim is a row of evidence: a JSON file with every figure behind it, rendered into docs/evidence.md and its pages.

``python -m benchmarks.evidence`` renders. A benchmark calls `write_row` with its figures per seed.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from anysize.core.errors import AnysizeError
from anysize.core.files import write_bytes, write_json
from benchmarks.pages import OUTCOMES, pages, summary

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
PACKAGES = (
    "anysize", "torch", "numpy", "transformers", "sentence-transformers", "faiss-cpu", "qdrant-client", "scikit-learn",
    "sionna-no-rt",
)  # fmt: skip


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
        "summary": summary(plain),
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


def _field(path: str, name: str) -> str:
    """The first ``name : value`` of a file of the kernel's, empty where there is none."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def main() -> None:
    """Render every row: docs/evidence.md tells each claim in a line, and a page for each system tells its figures."""
    rendered = pages(RESULTS)
    for file in (DOCS / "evidence").glob("*.md"):
        if f"evidence/{file.name}" not in rendered:
            file.unlink()
    for name, text in rendered.items():
        (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(DOCS / name, text.encode())
    print(f"wrote {len(rendered)} pages into {DOCS}")


if __name__ == "__main__":
    main()
