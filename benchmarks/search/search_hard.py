"""
Claim: whatever the data, the default search finds at least .99 of what the exact scan finds, or is the exact scan.

Thirteen shapes of 6,000 to 20,000 vectors that mislead codes, prefixes or graphs, three draws each; k of 10 and 100, by
the default plan and by the HNSW graph, against a brute-force search in float64. Queries are new draws of the shape, and
some have nothing in the prefix. A hit counts as found if its score is at least the true k-th (less 1e-9), so ties
count. With --before, the same for the checkout of an earlier version, in a process of its own.

    python -m benchmarks.search.search_hard --before CHECKOUT     # about 8 minutes on 2 cores
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import anysize
from anysize.core.sizes.nesting import Nesting
from anysize.search import Index
from benchmarks.common import arguments
from benchmarks.evidence import write_row

NESTING = Nesting(dims=(32, 64, 128))
WIDTH = 128
QUERIES = 100
SEEDS = (10, 11, 12)
"""Other draws than those of the first run, after which the check was made stricter."""
GOAL = 0.99


def spectrum() -> np.ndarray:
    """Scales of coordinates as a nested model has them."""
    return (1 + np.arange(WIDTH)) ** -0.5


def shapes(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> rows (n, 128) and queries (q, 128), float32."""
    rng = np.random.default_rng(seed)

    def normal(count: int) -> np.ndarray:
        return rng.standard_normal((count, WIDTH))

    def near(centres: np.ndarray, noise: float, count: int) -> np.ndarray:
        return centres[rng.integers(len(centres), size=count)] + noise * normal(count) * spectrum()

    def split(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = rows[rng.permutation(len(rows))].astype(np.float32)
        return rows[QUERIES:], rows[:QUERIES]

    templates, many = normal(3) * spectrum(), normal(60) * spectrum()
    words = 1.0 * (rng.random((6100, WIDTH)) < 0.03)
    empty = normal(6100)
    empty[:, :64] = 0
    one_hot = np.eye(WIDTH)[rng.integers(WIDTH, size=6100)]
    equal = np.concatenate([np.tile(normal(1), (5000, 1)), normal(1100)])
    copies = np.tile(normal(610), (10, 1)) * rng.uniform(0.5, 2, (6100, 1))
    rows, queries = split(normal(6100) * spectrum())
    queries[:, :64] = 0
    return {
        "a spectrum, no clusters": split(normal(6100) * spectrum()),
        "clusters": split(near(normal(200) * spectrum(), 0.5, 20100)),
        "no spectrum, no clusters": split(normal(6100)),
        "3 templates, noise .2": split(near(templates, 0.2, 6100)),
        "3 templates, noise .05": split(near(templates, 0.05, 6100)),
        "60 templates, noise .02": split(near(many, 0.02, 12100)),
        "a mean of five times the spread": split(normal(6100) * spectrum() + 5 * spectrum()),
        "5,000 equal rows among 6,000": split(equal),
        "610 rows ten times, of any length": split(copies),
        "one-hot": split(one_hot),
        "bags of words": split(words[words.any(1)]),
        "rows without a prefix": split(empty),
        "queries without a prefix": (rows, queries),
    }


def truth(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Cosines in float64, (q, n)."""
    wide, asked = rows.astype(np.float64), queries.astype(np.float64)
    return (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (
        wide / np.linalg.norm(wide, axis=1, keepdims=True)
    ).T


def recall(true: np.ndarray, found: list[list[int]], k: int) -> float:
    """Share of the k places that hold a row of at least the true k-th score."""
    last = np.sort(true, axis=1)[:, -k] - 1e-9
    good = [(scores[rows] >= least).sum() / k for scores, rows, least in zip(true, found, last, strict=True)]
    return float(np.mean(good))


def measured(seed: int) -> dict[str, dict[str, float]]:
    """Shape -> plan and number of hits -> recall, of the library that is imported."""
    out = {}
    for name, (rows, queries) in shapes(seed).items():
        true = truth(rows, queries)
        with tempfile.TemporaryDirectory() as folder:
            index = Index.build(Path(folder) / "i", None, rows, nesting=NESTING, hnsw=True, progress=False)
            figures = {}
            for plan in (None, "hnsw"):
                for k in (10, 100):
                    answers = index.search_many(queries, k=k, approximate=plan)
                    found = [[int(hit.id) for hit in answer.hits] for answer in answers]
                    figures[f"{plan or 'default'}, k={k}"] = recall(true, found, k)
            figures["scanned whole"] = float(index.search(queries[0]).stages[0].dims == WIDTH)
        out[name] = figures
        print(seed, name, figures, file=sys.stderr, flush=True)
    return out


def main() -> None:
    """Measure, print, and write the row of evidence."""
    options = arguments(__doc__)
    options.add_argument("--before", type=Path, help="checkout of an earlier version to compare with")
    options.add_argument("--figures", type=int, help="print the figures of one seed as JSON and write nothing")
    chosen = options.parse_args()
    if chosen.figures is not None:
        print(json.dumps({"library": anysize.__file__, "figures": measured(chosen.figures)}))
        return
    arms = {"now": Path(__file__).resolve().parents[2]} | ({"before": chosen.before} if chosen.before else {})
    results: dict[str, Any] = {}
    for arm, home in arms.items():
        for seed in SEEDS:
            for shape, figures in _figures(home, seed).items():
                for what, figure in figures.items():
                    results.setdefault(what, {}).setdefault(shape, {}).setdefault(arm, []).append(round(figure, 4))
    write(results)


def write(results: dict[str, Any]) -> None:
    """The row of evidence."""
    recalls = {what: found for what, found in results.items() if "k=" in what}
    lowest = {
        arm: min((float(np.mean(found[shape][arm])), shape, what) for what, found in recalls.items() for shape in found)
        for arm in next(iter(next(iter(recalls.values())).values()))
    }
    least, shape, what = lowest["now"]
    single = min(min(figures["now"]) for found in recalls.values() for figures in found.values())
    note = f"The lowest mean of three draws is {least:.4f} ({shape}; {what}), the lowest single draw {single:.4f}."
    if "before" in lowest:
        old, shape, what = lowest["before"]
        note += f" Before the check, the lowest was {old:.3f} ({shape}; {what})."
    write_row(
        "mrl-search-hard",
        paper="Kusupati et al. 2022, Matryoshka Representation Learning, arXiv:2205.13147, section 4.3",
        claim="whatever the data, the default search and the one by HNSW find .99 of what the exact scan finds",
        reported="not reported",
        arms=list(lowest),
        metric="recall of a float64 brute force, ties counted as found; scanned whole: the plan is the exact scan",
        values=results,
        outcome="won" if least >= GOAL else "lost",
        note=note
        + " Queries are draws like the rows, and some have nothing in the prefix. A plan is chosen when a segment is "
        "written, with 200 of its rows as queries; a query unlike all of them (less of it in the prefix, or far from "
        "every row) is answered from whole rows. In a first run, of other draws, every mean was above .99 too, but two "
        "single draws of clusters had .987 (default) and .988 (HNSW) of 100 hits: rows of a cluster miss together. "
        "Since then a plan has to pass by three standard errors, and this run is of new draws. What is lost: shapes "
        "that no shortlist fits are scanned whole, and of sets so small 100 hits were found by an exact scan before.",
        command="python -m benchmarks.search.search_hard --before CHECKOUT",
        data="thirteen shapes of 6,000 to 20,000 drawn vectors of 128 dims, 100 queries each, three draws",
    )


def _figures(home: Path, seed: int) -> dict[str, dict[str, float]]:
    """The figures by the library of the checkout `home`, in a process of its own."""
    path = os.pathsep.join([str(home / "src"), str(Path(__file__).resolve().parents[2])])
    command = [sys.executable, "-m", "benchmarks.search.search_hard", "--figures", str(seed)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout)
    if not Path(found["library"]).is_relative_to(home.resolve()):
        raise SystemExit(f"the library of {home} was meant, and {found['library']} was loaded")
    return found["figures"]


if __name__ == "__main__":
    main()
