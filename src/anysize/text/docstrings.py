"""
A real corpus on every machine: the documentation strings of the Python packages installed beside this one.

The first line of a docstring is its summary, the rest its description. Finding the description by the summary is a
retrieval task that nobody wrote for a benchmark, in thousands of examples, with no download.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anysize.core.errors import DataError

MAX_CHARACTERS = 360
"""Descriptions are cut here: about 64 to 90 tokens."""


class Documented(NamedTuple):
    """One documented class or function."""

    name: str
    summary: str
    description: str


def collect(limit: int, roots: tuple[Path, ...] | None = None) -> list[Documented]:
    """
    Up to `limit` documented objects with distinct summaries and descriptions, in an order fixed by their content.

    `roots` are folders of Python files (default: the standard library and the installed packages). Raises `DataError`
    if they hold too few to work with.
    """
    paths = sysconfig.get_paths()
    places = roots or (Path(paths["stdlib"]), Path(paths["purelib"]))
    found: dict[str, Documented] = {}
    descriptions: set[str] = set()
    for file in _files(places, wanted=limit):
        for item in _documented(file):
            if item.summary.lower() in found or item.description in descriptions:
                continue
            found[item.summary.lower()] = item
            descriptions.add(item.description)
    if len(found) < 50:
        raise DataError(f"only {len(found)} documented functions under {', '.join(map(str, places))}; 50 are needed")
    return sorted(found.values(), key=lambda item: _order(item.summary))[:limit]


def write_beir(items: list[Documented], directory: Path, *, held_out: int) -> None:
    """Write a retrieval set in BEIR layout: summaries ask, descriptions answer; the last `held_out` are for testing."""
    (directory / "qrels").mkdir(parents=True)
    with (directory / "corpus.jsonl").open("w", encoding="utf-8") as corpus:
        for number, item in enumerate(items):
            corpus.write(
                json.dumps({"_id": f"d{number}", "title": "", "text": item.description, "of": item.name}) + "\n"
            )
    with (directory / "queries.jsonl").open("w", encoding="utf-8") as queries:
        for number, item in enumerate(items):
            queries.write(json.dumps({"_id": f"q{number}", "text": item.summary}) + "\n")
    split = len(items) - held_out
    for name, numbers in (("train", range(split)), ("test", range(split, len(items)))):
        rows = "".join(f"q{number}\td{number}\t1\n" for number in numbers)
        (directory / "qrels" / f"{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows, encoding="utf-8")


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _files(roots: tuple[Path, ...], wanted: int) -> Iterator[Path]:
    """Python files in an order that mixes packages, and no more of them than `wanted` objects are likely to need."""
    seen: set[Path] = set()
    for root in roots:
        for file in root.rglob("*.py"):
            parts = file.relative_to(root).parts
            if not {"tests", "test", "idlelib", "lib2to3", "_vendor", "__pycache__"} & set(parts):
                seen.add(file)
    ordered = sorted(seen, key=lambda file: _order("/".join(file.parts[-3:])))
    # On the packages of an ordinary environment, four files hold about eight usable docstrings.
    yield from ordered[: max(400, int(0.6 * wanted))]


def _documented(file: Path) -> Iterator[Documented]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            summary, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
            summary, rest = " ".join(summary.split()), _plain(rest)
            if 20 <= len(summary) <= 200 and len(rest) >= 60 and " " in summary:
                yield Documented(node.name, summary, rest[:MAX_CHARACTERS])


def _plain(text: str) -> str:
    """A description without the ruler lines of docstring formats."""
    return " ".join(re.sub(r"^\s*[-=~^]{3,}\s*$", " ", text, flags=re.MULTILINE).split())
