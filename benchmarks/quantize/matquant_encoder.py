"""
MatQuant on all-MiniLM-L6-v2: one model of codes against models trained for one width each, at 8 to 2 bits.

    # about an hour and a half of one free core
    python -m benchmarks.quantize.matquant_encoder --data DATA_DIR --cache CACHE

All arms learn to keep the float model's embeddings of short sentences from STS-B's training part. Measured are
Spearman's correlation on half of STS-B's test part and nDCG@10 on Cranfield's titles, which training never saw. Rates
are chosen on 300 pairs of STS-B's development part. Finished arms are kept in --cache, so
that a stopped run continues; `--minutes` ends one early.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from anysize.backbones.sentence import supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.evaluation.nearest import rank
from anysize.evaluation.ranking import evaluate
from anysize.evaluation.similarity import spearman
from anysize.quantize import MatQuant
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.quantize.matquant_arms import ARMS, FIRST, Bench, Runs, Scores, orderings, outcome

MODEL, LENGTH, BATCH, RATES = "all-MiniLM-L6-v2", 32, 16, (2e-4, 1e-3, 3e-3)
MODULES = {"ffn": ("ffn",), "all": ("ffn", "attention")}


def benches(folder: Path, steps: int) -> list[Bench]:
    """The feed-forward layers alone, and with attention."""
    train = short_sentences(folder)
    valid, test = some_pairs(folder / "stsb/dev.tsv", 300), some_pairs(folder / "stsb/test.tsv", 690)
    titles = cranfield_titles(folder)
    epochs = steps * BATCH / len(train.texts)

    def measure(views: dict[int, Any]) -> Scores:
        return {
            "sts": {f"bits={bits}": similarity(view, test) for bits, view in views.items()},
            "ndcg": {f"bits={bits}": ndcg(view, titles) for bits, view in views.items() if bits not in (6, 3)},
        }

    def bench(name: str) -> Bench:
        def method(seed: int, rate: float) -> MatQuant:
            return MatQuant(
                model=MODEL,
                modules=MODULES[name],
                learn_from="embeddings",
                symmetric=False,
                batch_size=BATCH,
                max_length=LENGTH,
                learning_rate=rate,
                epochs=epochs,
                seed=seed,
                bf16=supports_bf16(),
            )

        arms = ARMS if name == "ffn" else ARMS[: FIRST + 1]
        return Bench(name, method, train, lambda view: similarity(view, valid), measure, RATES, arms)

    return [bench(name) for name in MODULES]


def short_sentences(folder: Path) -> Data:
    """Sentences of STS-B's training part of at most 60 characters, so that batches pad little."""
    scored = read(folder / "stsb/train.tsv").scored
    assert scored is not None
    texts = [text for text in dict.fromkeys([*scored["sentence1"], *scored["sentence2"]]) if len(text) <= 60]
    return Data("stsb", "stsb", corpus=Items([str(place) for place in range(len(texts))], texts))


def some_pairs(file: Path, count: int) -> Data:
    """Scored pairs of a file, drawn at random, always the same."""
    data = read(file)
    assert data.scored is not None
    order = np.random.default_rng(0).permutation(len(data.scored["sentence1"]))
    return dataclasses.replace(data, table=data.scored.take(order[:count].tolist()))


def cranfield_titles(folder: Path) -> Data:
    """Cranfield with the title alone of each document, to encode little."""
    lines = gzip.decompress((folder / "cranfield/corpus.jsonl.gz").read_bytes()).splitlines()
    documents = [json.loads(line) for line in lines]
    titles = Items([one["_id"] for one in documents], [one["title"] or one["text"][:80] for one in documents])
    return dataclasses.replace(read(folder / "cranfield"), corpus=titles)


def similarity(view: Any, data: Data) -> float:
    """Spearman's correlation of cosines with people's scores."""
    assert data.scored is not None
    left, right = (
        view.encode(column, bf16=supports_bf16()) for column in (data.scored["sentence1"], data.scored["sentence2"])
    )
    return float(spearman((left * right).sum(1), np.asarray(data.scored["score"])))


def ndcg(view: Any, data: Data) -> float:
    """nDCG@10 over all documents."""
    task = data.retrieval("test")
    assert task is not None
    corpus, queries = (view.encode(part.texts, bf16=supports_bf16()) for part in (task.corpus, task.queries))
    return float(evaluate(task, rank(queries, corpus, k=10)[0])["ndcg@10"])


def main() -> None:
    """Run what is missing, then write the rows of the seeds that are whole."""
    parser = arguments(__doc__, "data", "cache", seeds=3, steps=150)
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing new after so long")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    runs = Runs(args.cache, args.minutes)
    every = benches(args.data, args.steps)
    runs.all(every, args.seeds)
    for bench in every:
        report(runs, bench, args)


def report(runs: Runs, bench: Bench, args: argparse.Namespace) -> None:
    """Judge the paper's orderings and write them down, if there is a whole seed."""
    whole, values = runs.values(bench, args.seeds)
    if not whole:
        return
    judged = orderings(values["sts"], more_is_better=True)
    elsewhere = "; ".join(map(str, orderings(values["ndcg"], more_is_better=True)))
    sts = values["sts"]
    two = {arm: float(np.mean(sizes["bits=2"])) for arm, sizes in sts.items() if "bits=2" in sizes}
    layers = "Feed-forward layers" if bench.name == "ffn" else "Feed-forward and attention layers"
    write_row(
        f"matquant-encoder-{bench.name}",
        paper="Matryoshka Quantization, arXiv 2502.06786",
        claim=f"{layers} of a sentence encoder: at 2 bits MatQuant beats the int8 model sliced (A) and int2 trained "
        "alone (C), and at 8 and 4 bits it is within 1 % of models trained there alone (B)",
        reported="Gemma-2 and Mistral, QAT, int2: +4.5 to +7.0 points over int2 trained alone; int8 and int4 within 1",
        arms=list(sts),
        metric="Spearman on STS-B test (sts); nDCG@10 on Cranfield's titles (ndcg)",
        values={**values, "rates": {arm: f"{runs.rate(bench, arm):g}" for arm in sts if arm in bench.arms}},
        outcome=outcome(judged),
        note=f"At 2 bits MatQuant has {two['matquant']:.3f}, int2 alone {two['int2 alone']:.3f}, and with symmetric "
        f"codes, whose levels hold zero, {two['matquant, symmetric']:.3f} and {two['int2 alone, symmetric']:.3f}. "
        f"STS-B, {whole} seeds (fewer where fewer are listed): {'; '.join(map(str, judged))}. Cranfield: {elsewhere}. "
        "The float model has "
        f"{sts['float']['bits=32'][0]:.3f} on STS-B; without training 2 bits have "
        f"{sts['untrained, own scales']['bits=2'][0]:.3f} with scales of their own and "
        f"{sts['untrained, sliced']['bits=2'][0]:.3f} sliced. {args.steps} steps of {BATCH} sentences, cut at {LENGTH} "
        "tokens. Rates were chosen with seed 0. "
        f"Arms without a figure yet: {', '.join(arm for arm in bench.arms if arm not in sts) or 'none'}; seeds asked "
        f"for: {args.seeds}.",
        command="python -m benchmarks.quantize.matquant_encoder --data DATA_DIR --cache CACHE",
        data=f"{len(bench.data.texts)} sentences of at most 60 characters of STS-B train; 690 pairs of STS-B test; "
        "titles of Cranfield's 1400 documents and 225 queries",
    )


if __name__ == "__main__":
    main()
