"""
A nested fine-tuned encoder against encoders fine-tuned for one size each, truncation and PCA, on judged retrieval.

    python -m benchmarks.text.finetune --data DATA_DIR [--sets docstrings,cranfield]     # an hour and a half of a core

Every weight of all-MiniLM-L6-v2 is tuned with in-batch softmax over the same pairs in the same order, for the same
number of steps at the same rate: once for all sizes, and once for each size alone. Queries are split in halves as in
`benchmarks.text.retrieval`. Texts are cut at --tokens. Finished runs are kept in --cache, so a stopped one continues.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from anysize.backbones.sentence import Encoder, supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.principal import principal_rows
from anysize.text.embedder.method import MRL
from anysize.text.embedder.model import Embedder
from benchmarks.common import arguments, kept
from benchmarks.evidence import write_row
from benchmarks.text.retrieval import DIMS, MODEL, counts, docstrings, halves, judge, score, texts_of

PLANS = {"docstrings": {"epochs": 1.0, "batch_size": 64}, "cranfield": {"epochs": 2.0, "batch_size": 32}}


def shorter(tokens: int, folder: Path) -> str:
    """The base with a lower limit on the length of texts, saved so that every run starts from the same files."""
    if not folder.exists():
        encoder = Encoder(MODEL)
        encoder.model.max_seq_length = tokens
        encoder.save(folder)
    return str(folder)


def measured(model: Embedder, data: Data, dims: tuple[int, ...]) -> dict[str, float]:
    """nDCG@10 at each of `dims`, from one pass of the encoder over the test half."""
    assert model.encoder is not None
    model.encoder.encode(texts_of(data), bf16=supports_bf16())
    return {f"dims={size}": score(model.at(dims=size), data) for size in dims}


def arm(name: str, base: str, data: Data, seed: int, plan: dict) -> dict[str, float]:
    """One arm's figures: fit, then measure."""
    from anysize.backbones.keeping.kept import FeatureStore

    train, test = halves(data, seed)
    if name in ("truncate", "pca"):
        encoder = Encoder(base)
        encoder.store = FeatureStore()
        corpus = encoder.encode(train.items().texts or [], bf16=supports_bf16())
        weight = principal_rows(corpus, DIMS[-1]) if name == "pca" else None
        return measured(Embedder(Nesting(dims=DIMS), DIMS[-1], encoder=encoder, weight=weight), test, DIMS)
    dims = DIMS if name == "nested" else (int(name.removeprefix("single ")),)
    model = MRL(model=base, dims=dims, tune="full", seed=seed, bf16=supports_bf16(), **plan).fit(train)
    model.encoder.store = FeatureStore()
    return measured(model, test, dims)


def main() -> None:
    """Run what is missing and write one row of evidence per data set."""
    parser = arguments(__doc__, "data", "cache", seeds=3, tokens=64)
    parser.add_argument("--sets", default="docstrings,cranfield")
    parser.add_argument("--limit", type=int, default=3000, help="docstring pairs, half of them to learn from")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    base = shorter(args.tokens, args.cache / f"base-{args.tokens}")
    for name in args.sets.split(","):
        data = docstrings(args.limit) if name == "docstrings" else read(args.data / name)
        values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for seed in range(args.seeds):
            for one in ("truncate", "pca", "nested", *(f"single {size}" for size in DIMS)):
                file = args.cache / f"{name}-{seed}-{one.replace(' ', '-')}.json"
                for size, value in kept(file, arm, one, base, data, seed, PLANS[name]).items():
                    values[one.split(" ")[0]][size].append(value)
        report(name, data, values, args)


def report(name: str, data: Data, values: dict, args: argparse.Namespace) -> None:
    """Judge the claim on one data set and write it down."""
    found = judge(values)
    write_row(
        f"mrl-finetune-{name}",
        paper="Matryoshka Representation Learning, arXiv 2205.13147",
        claim="One nested fine-tuned encoder is within 1 % of encoders fine-tuned for one size each, on average over "
        "sizes, and above truncation and PCA of the untouched one at every size up to half the full one",
        reported="ResNet-50, ImageNet-1K: MRL matches separately trained sizes and exceeds SVD at small ones",
        arms=list(values),
        metric="ndcg@10",
        values={arm: dict(sizes) for arm, sizes in values.items()},
        outcome=found.outcome,
        note=f"{found.note} Texts cut at {args.tokens} tokens; {PLANS[name]['epochs']:g} passes in batches of "
        f"{PLANS[name]['batch_size']}.",
        command=f"python -m benchmarks.text.finetune --data DATA_DIR --cache CACHE --sets {name}",
        data=f"{counts(name, data)}; "
        + ("judged queries halved at random per seed" if name != "docstrings" else "half of the queries held out"),
    )
    print(name, {arm: {size: round(value, 3) for size, value in sizes.items()} for arm, sizes in found.mean.items()})


if __name__ == "__main__":
    main()
