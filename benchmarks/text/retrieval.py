"""
Nested embeddings against truncation, PCA and models trained for one size alone, on retrieval with judgements.

    python -m benchmarks.text.retrieval --data DATA_DIR            # four data sets, 3 seeds: about 15 minutes

DATA_DIR holds `cranfield`, `cisi` and `npl` in BEIR layout; the docstring corpus is made on the spot. Judged queries
are split in halves at random, one to learn from and one to measure by, anew for each seed. Every arm sees the same
pairs, steps and learning rate.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Literal

import numpy as np

from anysize.backbones.keeping.kept import FeatureStore
from anysize.backbones.sentence import Encoder, supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.sizes.nesting import Nesting
from anysize.core.sizes.size import Size
from anysize.evaluation.nearest import rank
from anysize.evaluation.principal import principal_rows
from anysize.evaluation.ranking import evaluate
from anysize.text.docstrings import collect, write_beir
from anysize.text.embedder.fit import head, training_features
from anysize.text.embedder.method import MRL
from anysize.text.embedder.model import Embedder
from benchmarks.common import arguments
from benchmarks.evidence import write_row

DIMS = (8, 16, 32, 64, 128, 256, 384)
MODEL = "all-MiniLM-L6-v2"


def docstrings(limit: int, held_out: int = 1500) -> Data:
    """The demo's corpus, with all queries in one split so that the halves are drawn as for the others."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "docstrings"
        write_beir(collect(limit), folder, held_out=held_out)
        return read(folder)


def halves(data: Data, seed: int) -> tuple[Data, Data]:
    """Two data sets over one corpus whose judged queries do not overlap."""
    if "train" in data.qrels:
        return data, data
    judged = sorted(data.qrels["test"])
    order = np.random.default_rng(seed).permutation(len(judged))
    train = {judged[row] for row in order[: len(judged) // 2]}
    qrels = data.qrels["test"]
    split = {
        "train": {query: found for query, found in qrels.items() if query in train},
        "test": {query: found for query, found in qrels.items() if query not in train},
    }
    both = dataclasses.replace(data, qrels=split)
    return both, both


def texts_of(data: Data) -> list[str]:
    """The texts of corpus and queries."""
    assert data.queries is not None
    return [*(data.items().texts or []), *(data.queries.texts or [])]


def score(model: Embedder, data: Data) -> float:
    """nDCG@10 of one view on the test half."""
    task = data.retrieval("test")
    assert task is not None
    corpus, queries = (model.encode(part.texts or []) for part in (task.corpus, task.queries))
    return evaluate(task, rank(queries, corpus, k=10)[0])["ndcg@10"]


def arms(data: Data, encoder: Encoder, seed: int, options: dict) -> dict[str, dict[int, float]]:
    """nDCG@10 of every arm at every size, for one seed."""
    train, test = halves(data, seed)
    method = MRL(model=MODEL, dims=DIMS, seed=seed, **options)
    base = Embedder(Nesting(dims=DIMS), encoder.dimension, encoder=encoder)
    corpus = base.features(train.items().texts or [])
    rotated = Embedder(base.nesting, encoder.dimension, encoder=encoder, weight=principal_rows(corpus, 384))
    found: dict[str, dict[int, float]] = defaultdict(dict)
    columns = training_features(method, train, encoder)
    unlabelled = {"vector": corpus}
    learners = {"nested": columns, "nested, no labels": unlabelled}
    views = {"truncate": base, "pca": rotated}
    for arm, rows in learners.items():
        with tempfile.TemporaryDirectory() as scratch:
            views[arm] = head(method, rows, Path(scratch))
        views[arm].encoder = encoder
    for arm, model in views.items():
        for dims in DIMS:
            found[arm][dims] = score(model.at(dims=dims), test)
    for dims in DIMS:
        with tempfile.TemporaryDirectory() as scratch:
            twin = head(method.single(Size(dims=dims)), columns, Path(scratch))
        twin.encoder = encoder
        found["single"][dims] = score(twin, test)
    return found


def main() -> None:
    """Run and write one row of evidence per data set."""
    parser = arguments(__doc__, "data", seeds=3, limit=8000)
    parser.add_argument("--sets", default="docstrings,cranfield,cisi,npl")
    parser.add_argument("--cache", type=Path, help="a folder in which embeddings are kept between runs")
    args = parser.parse_args()
    encoder = Encoder(MODEL)
    for name in args.sets.split(","):
        data = docstrings(args.limit) if name == "docstrings" else read(args.data / name)
        encoder.store = FeatureStore(args.cache)
        encoder.encode(texts_of(data), progress=True, bf16=supports_bf16())
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for seed in range(args.seeds):
            for arm, sizes in arms(data, encoder, seed, {}).items():
                for dims, value in sizes.items():
                    values[arm][f"dims={dims}"].append(value)
        report(name, data, values)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How the nested arm stands beside the others, over the seeds."""

    mean: dict[str, dict[str, float]]
    """Arm -> size -> mean."""
    outcome: Literal["won", "tied", "lost", "mixed"]
    note: str


def judge(values: dict[str, dict[str, list[float]]]) -> Verdict:
    """Won: within 1 % of the single-size twins on average, and above truncation and PCA up to half the full size."""
    mean = {arm: {size: float(np.mean(runs)) for size, runs in sizes.items()} for arm, sizes in values.items()}
    ratio = float(np.mean([mean["nested"][size] / mean["single"][size] for size in mean["nested"]]))
    small = [f"dims={dims}" for dims in DIMS if dims <= DIMS[-1] // 2]
    behind = [size for size in small if mean["nested"][size] <= max(mean["truncate"][size], mean["pca"][size])]
    met = (ratio >= 0.99) + (not behind)
    note = (
        f"nested / single, mean over sizes: {ratio:.3f}; above truncation and PCA at {len(small) - len(behind)} of "
        f"{len(small)} sizes up to half{', not at ' + ' '.join(behind) if behind else ''}. The untouched model has "
        f"{mean['truncate'][f'dims={DIMS[-1]}']:.3f}, the nested one at full size "
        f"{mean['nested'][f'dims={DIMS[-1]}']:.3f}."
    )
    return Verdict(mean, "won" if met == 2 else "mixed" if met else "lost", note)


def counts(name: str, data: Data) -> str:
    """A data set's name, and how much it holds."""
    assert data.queries is not None
    return f"{name}: {len(data.items())} documents, {len(data.queries)} queries"


def report(name: str, data: Data, values: dict) -> None:
    """Judge the claim on one data set and write it down."""
    found = judge(values)
    write_row(
        f"mrl-head-{name}",
        paper="Matryoshka Representation Learning, arXiv 2205.13147",
        claim="One nested head is within 1 % of heads trained for one size each, on average over sizes, and above "
        "truncation and PCA at every size up to half the full one",
        reported="ResNet-50, ImageNet-1K: MRL matches separately trained sizes and exceeds SVD at small ones",
        arms=list(values),
        metric="ndcg@10",
        values={arm: dict(sizes) for arm, sizes in values.items()},
        outcome=found.outcome,
        note=found.note,
        command="python -m benchmarks.text.retrieval --data DATA_DIR",
        data=f"{counts(name, data)}; judged queries halved at random per seed"
        if name != "docstrings"
        else f"docstrings of the installed packages: {len(data.items())} pairs, 1500 held out to measure by, all "
        "descriptions in the corpus",
    )
    print(name, {arm: {size: round(value, 3) for size, value in sizes.items()} for arm, sizes in found.mean.items()})


if __name__ == "__main__":
    main()
