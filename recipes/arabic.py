"""
Arabic nested embeddings (Nacar and Koubaa 2024, arXiv 2407.21139): tune any base on translated NLI, at every size.

    python -m recipes.arabic --data DATA_DIR                        # two small bases, 3 seeds
    python -m recipes.arabic --data DATA_DIR --bases english        # all-MiniLM-L6-v2, which knows no Arabic: slower
    python -m recipes.arabic --data DATA_DIR --model BASE           # a sentence-transformers folder or hub name

Data      DATA_DIR/arabic_nli (ArNLI: SICK translated; 739 triplets are left after filtering) and DATA_DIR/sts17 (ar-ar,
          ar-en; never trained on).
Cost      Half a minute of one core for each base and seed, three minutes in all.
Hardware  One core of an AMD EPYC with bfloat16.
Result    Row arabic-similarity, Spearman of cosine on STS17 ar-ar at 32 / full size: bilingual base untouched
          0.618 / 0.682, nested 0.624 / 0.678, plain 0.615 / 0.677; scratch base 0.520 / 0.590, nested 0.587 / 0.662,
          plain 0.578 / 0.659. So few triplets teach nothing to a base that knows Arabic; one that knows none gains at
          every size.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from anysize.backbones.keeping.kept import FeatureStore
from anysize.backbones.sentence import Encoder, supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.records import Table
from anysize.core.files import write_json
from anysize.core.sizes.nesting import Nesting
from anysize.core.training import trainer as training
from anysize.core.verbs.measure import records_of
from anysize.evaluation.correlation import paired_bootstrap
from anysize.evaluation.principal import principal_rows
from anysize.evaluation.similarity import METRICS, SimilarityEvaluator, pair_similarities
from anysize.text.arabic.normalizer import ArabicNormalizer
from anysize.text.arabic.vocabulary import tokenizer_report
from anysize.text.embedder.model import Embedder
from recipes import arabic_bases
from recipes.arabic_data import AS_WRITTEN, Corpus, load
from recipes.arabic_report import NATIVE, Run, report

BASES = "bilingual,scratch"
SIZES = (32, 64, 128, 256, 512, 768)
# Base -> passes, batch and learning rate. Of the two static bases: the best of six and of nine for plain tuning on the
# validation rows, seed 0; of the transformers: what is usual.
SETTINGS = {
    "bilingual": (10, 64, 3e-3),
    "scratch": (10, 64, 1e-1),
    "english": (1, 64, 5e-5),
    "given": (1, 64, 2e-5),
}


def tune(model: SentenceTransformer, rows: Table, dims: tuple[int, ...], settings: tuple, seed: int) -> Encoder:
    """Fine-tune `model` in place with in-batch softmax at every size of `dims`, the mean over sizes."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from anysize.text.losses.dims import MatryoshkaLoss

    epochs, batch, rate = settings
    half = supports_bf16() and not isinstance(model[0], arabic_bases.StaticEmbedding)
    plan = training.TrainingPlan(epochs, batch, rate, seed, warmup_ratio=0.1, bf16=half, checkpoints=1)
    weights = [1 / len(dims)] * len(dims)
    with tempfile.TemporaryDirectory() as folder:
        steps = training.total_steps(len(rows), plan)
        more = {"batch_sampler": BatchSamplers.NO_DUPLICATES}
        with training.quiet():
            trainer = SentenceTransformerTrainer(
                model=model,
                args=training.arguments(plan, Path(folder), steps, SentenceTransformerTrainingArguments, **more),
                train_dataset=Dataset.from_dict(rows.paired),
                loss=MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), list(dims), weights),
            )
            training.use_plain_bar(trainer)
        training.run(trainer, Path(folder), resume=False)
    return Encoder(model.eval())


def views(encoder: Encoder, dims: tuple[int, ...], weight: Any = None) -> list[Embedder]:
    """One view per size of what an encoder gives, perhaps rotated first."""
    encoder.store = encoder.store or FeatureStore()
    whole = Embedder(Nesting(dims=dims), encoder.dimension, encoder=encoder, weight=weight)
    return [whole.at(size) for size in whole.nesting]


def arms(
    make: Callable[[], SentenceTransformer], corpus: Corpus, settings: tuple, seed: int, single: bool
) -> dict[str, list[Embedder]]:
    """Every arm at every size for one seed; `make` gives a fresh copy of the base."""
    base = Encoder(make())
    dims = tuple(sorted({*(size for size in SIZES if size < base.dimension), base.dimension}))
    rows, full = corpus.triplets, dims[-1:]
    plain, nested = (tune(make(), rows, trained, settings, seed) for trained in (full, dims))
    half = supports_bf16()
    seen = plain.encode([text for column in rows.columns.values() for text in column], bf16=half)
    found = {
        "untouched, cut": views(base, dims),
        "plain, cut": views(plain, dims),
        "plain, PCA": views(plain, dims, principal_rows(seen, dims[-1])),
        "nested": views(nested, dims),
    }
    if single:
        twins = [tune(make(), rows, (width,), settings, seed) for width in dims[:-1]]
        found["one size each"] = [views(twin, (width,))[0] for twin, width in zip([*twins, plain], dims, strict=True)]
    for models in found.values():
        for model in models:
            model.about = {"options": {"bf16": half}}
    return found


def measured(found: dict[str, list[Embedder]], data: Data) -> dict[str, dict[str, dict[str, float]]]:
    """Metric -> arm -> size -> figure, of vectors that are merely cut, as the paper has them."""
    table: dict[str, dict[str, dict[str, float]]] = {metric: defaultdict(dict) for metric in METRICS}
    evaluator = SimilarityEvaluator(normalize="none")
    for record in records_of(evaluator, found, evaluator.prepare(data)):
        for metric, value in record.metrics.items():
            table[metric][record.arm][str(record.size)] = value
    return table


def gain(found: dict[str, list[Embedder]], data: Data, place: int) -> tuple[float, float, float]:
    """Nested minus untouched base, Spearman of cosine at one size, with its 95 % interval over the pairs."""
    pairs = data.scored
    assert pairs is not None

    def cosines(arm: str) -> np.ndarray:
        left, right = (found[arm][place].encode(column) for column in (pairs["sentence1"], pairs["sentence2"]))
        return pair_similarities(left, right)["cosine"]

    return paired_bootstrap(cosines("nested"), cosines("untouched, cut"), pairs["score"])


def main(words: Sequence[str] | None = None) -> None:
    """Run every base, and write one row of evidence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="a base to tune instead of the small ones made here")
    parser.add_argument("--bases", default=BASES, help="of bilingual, scratch and english")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, help="of fine-tuning; the default depends on the base")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--cache", type=Path, help="a folder for finished seeds, so that a stopped run continues")
    parser.add_argument("--results", type=Path, help="a folder for the row of evidence; default: benchmarks/results")
    args = parser.parse_args(words)
    chosen = (args.epochs, args.batch_size, args.learning_rate)
    teacher = Encoder(arabic_bases.TEACHER)
    teacher.store = FeatureStore()
    results: dict[str, list[Run]] = defaultdict(list)
    corpus = load(args.data, ArabicNormalizer())
    for base in ["given"] if args.model else args.bases.split(","):
        settings = tuple(given or usual for given, usual in zip(chosen, SETTINGS[base], strict=True))
        for seed in range(args.seeds):
            kept = args.cache / f"{base}-{seed}.json" if args.cache else None
            if kept is not None and kept.exists():
                results[base].append(json.loads(kept.read_text("utf-8")))
                continue
            figures = one(base, args, load(args.data, ArabicNormalizer(), seed), settings, seed, teacher)
            results[base].append(figures)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_json(kept, figures)
            print(f"{base} base, seed {seed}: plain tuning on validation rows {figures['valid']}", flush=True)
    bases = None if args.model or args.bases == BASES else args.bases
    named = {"model": args.model, "bases": bases}
    named |= dict(zip(("epochs", "batch-size", "learning-rate"), chosen, strict=True))
    options = "".join(f" --{name} {value}" for name, value in named.items() if value is not None)
    report(results, corpus, f"python -m recipes.arabic --data DATA_DIR{options}", args.results)


def one(base: str, args: Any, corpus: Corpus, settings: tuple, seed: int, teacher: Encoder) -> Run:
    """All figures of one base and seed."""
    make = arabic_bases.maker(base, args.model, corpus, seed, teacher)
    found = arms(make, corpus, settings, seed, single=base in ("bilingual", "scratch"))
    native = corpus.tests[NATIVE].scored
    assert native is not None
    figures: Run = {
        "tables": {name: measured(found, data) for name, data in corpus.tests.items()},
        "valid": measured(found, corpus.valid)["spearman_cosine"]["plain, cut"],
        "gain": {
            name: {str(found["nested"][place].size): gain(found, data, place) for place in (0, -1)}
            for name, data in corpus.tests.items()
            if name != "STS17 ar-en"
        },
        "tokenizer": tokenizer_report(make(), [*native["sentence1"], *native["sentence2"]]).to_json(),
    }
    if base == "scratch":
        raw = load(args.data, AS_WRITTEN, seed)
        written = arms(arabic_bases.maker(base, None, raw, seed, teacher), raw, settings, seed, single=False)
        figures["as written"] = measured(written, raw.tests[NATIVE])["spearman_cosine"]["nested"]
    return figures


if __name__ == "__main__":
    # That a model for one size is for one size. Said here alone: who imports this file keeps the warning.
    logging.getLogger("anysize.text.losses.dims").setLevel(logging.ERROR)
    main()
