"""
Layers, dims and bits at once: the cheapest cut of one sentence encoder that keeps 97 % of the whole float one.

    # about a quarter of an hour of one core
    python -m benchmarks.quantize.matquant_three_axes --data DATA_DIR --cache CACHE

all-MiniLM-L6-v2 learns at every depth, width and number of bits at once to keep the float model's embeddings, from the
sentences of STS-B's training part; measured is Spearman's correlation on 345 pairs of the test part. The rival is
the same grid without training. The rate is the one of RATES that gives the cut of fewest bytes within 3 % on pairs of
the development part, found with the first seed. Finished runs are kept in --cache, so that a stopped run continues.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from anysize.backbones.sentence import supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.sizes.size import Size
from anysize.evaluation.similarity import spearman
from anysize.quantize import MatQuant
from anysize.quantize.training.columns import columns
from anysize.quantize.training.rivals import floats_of
from benchmarks.common import arguments, kept
from benchmarks.evidence import write_row

MODEL, LAYERS, DIMS, BITS = "all-MiniLM-L6-v2", (2, 3, 4, 5, 6), (48, 96, 192, 384), (8, 4, 2)
LENGTH, BATCH, RATES, KEPT = 32, 16, (1e-4, 3e-4, 1e-3), 0.97


def method(seed: int, epochs: float, rate: float = RATES[0]) -> MatQuant:
    """Every weight moves, since shallow cuts are to learn what deep ones know."""
    return MatQuant(
        model=MODEL,
        modules=("linear", "embedding"),
        layers=LAYERS,
        dims=DIMS,
        bits=BITS,
        untrained=(),
        weights=("1", "1", "1"),
        learn_from="embeddings",
        train="all",
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=rate,
        max_length=LENGTH,
        bf16=supports_bf16(),
        seed=seed,
    )


def scores(model: Any, data: Data, sizes: list[Size]) -> dict[str, float]:
    """Spearman's correlation at each size; one pass over the texts per width."""
    assert data.scored is not None
    found: dict[str, float] = {}
    left = model.encode(data.scored["sentence1"], sizes=sizes, bf16=supports_bf16())
    right = model.encode(data.scored["sentence2"], sizes=sizes, bf16=supports_bf16())
    for size in sizes:
        found[str(size)] = float(spearman((left[size] * right[size]).sum(1), np.asarray(data.scored["score"])))
    return found


def main() -> None:
    """Run the seeds that are missing, then write the row."""
    parser = arguments(__doc__, "data", "cache", seeds=3, steps=100)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    train, test = read(args.data / "stsb/train.tsv"), read(args.data / "stsb/test.tsv")
    assert test.scored is not None
    test = dataclasses.replace(test, table=test.scored.take(list(range(0, len(test.scored["score"]), 4))))
    rows = len(columns(train, "embeddings"))
    valid = read(args.data / "stsb/dev.tsv")
    assert valid.scored is not None
    valid = dataclasses.replace(valid, table=valid.scored.take(list(range(0, len(valid.scored["score"]), 5))))
    floats = kept(args.cache / "float.json", whole, test, valid)
    untrained = kept(args.cache / "untrained.json", rounded, train, test)
    costs = untrained["costs"]

    def run(seed: int, rate: float) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = kept(args.cache / f"seed-{seed}-{rate:g}.json", trained, seed, rate)
        return found

    def trained(seed: int, rate: float) -> dict[str, dict[str, float]]:
        model = method(seed, args.steps * BATCH / rows, rate).fit(train)
        sizes = list(model.nesting)
        return {"valid": scores(model, valid, sizes), "test": scores(model, test, sizes)}

    def fewest(rate: float) -> tuple[float, float]:
        found = run(0, rate)["valid"]
        good = [costs[size]["bytes"] for size, value in found.items() if value >= KEPT * floats["valid"]]
        return min(good, default=float("inf")), -float(np.mean(list(found.values())))

    rate = min(RATES, key=fewest)
    found = [run(seed, rate)["test"] for seed in range(args.seeds)]
    told = (
        f"{args.steps} steps of {BATCH} texts cut at {LENGTH} tokens, rate {rate:g}, chosen with seed 0 by the fewest "
        "bytes within 3 % on other pairs"
    )
    report(floats, untrained, found, told)


def whole(test: Data, valid: Data) -> dict[str, float]:
    """The float model, and what it costs."""
    plain = floats_of(method(0, 1.0))
    (only,) = plain.nesting
    cost, by = plain.cost(), {"sts": test, "valid": valid}
    found = {name: scores(plain, data, [only])[str(only)] for name, data in by.items()}
    return {**found, "bytes": cost.bytes, "flops": cost.flops}


def rounded(train: Data, test: Data) -> dict[str, Any]:
    """Every size of the weights as they are, rounded, and what it costs."""
    model = dataclasses.replace(method(0, 1.0), base="minmax").fit(train)
    costs = {str(size): dataclasses.asdict(model.at(size).cost()) for size in model.nesting}
    return {"sts": scores(model, test, list(model.nesting)), "costs": costs}


def report(whole: dict[str, float], untrained: dict[str, Any], found: list[dict[str, float]], training: str) -> None:
    """The cheapest cuts that keep enough, and how large the grid without training must be for the same."""
    costs, floor = untrained["costs"], KEPT * whole["sts"]
    trained = {size: [seed[size] for seed in found] for size in found[0]}

    def cheapest(values: dict[str, float], by: str) -> str | None:
        good = [size for size, value in values.items() if value >= floor]
        return (
            min(good, key=lambda size: (costs[size][by], costs[size]["bytes"], Size.parse(size).dims)) if good else None
        )

    means = {size: float(np.mean(values)) for size, values in trained.items()}
    picks = {(arm, by): cheapest(values, by) for arm, values in (("trained", means), ("untrained", untrained["sts"]))
             for by in ("bytes", "flops")}  # fmt: skip

    def told(arm: str, by: str, unit: float, word: str) -> str:
        size = picks[arm, by]
        if size is None:
            return f"no cut {arm}"
        share = costs[size][by] / whole[by]
        return f"{size} with {costs[size][by] / unit:.2f} {word} ({100 * share:.1f} % of the float model's)"

    two = max(value for size, value in means.items() if Size.parse(size).bits == 2)
    shallow = max(value for size, value in means.items() if Size.parse(size).layers < LAYERS[-1])
    small, fast = picks["trained", "bytes"], picks["trained", "flops"]
    beaten = small is not None and fast is not None
    for by in ("bytes", "flops"):
        mine, theirs = picks["trained", by], picks["untrained", by]
        beaten = beaten and mine is not None and (theirs is None or costs[mine][by] < costs[theirs][by])
    write_row(
        "matquant-three-axes",
        paper="Matryoshka Quantization, arXiv 2502.06786, with 2DMSE, arXiv 2402.14776",
        claim="Trained at layers, dims and bits at once, an encoder has a cut within 3 % of the whole float model that "
        "takes fewer bytes, and one that takes fewer FLOPs, than any such cut without training",
        reported="not reported: the three axes were not joined before",
        arms=["trained on three axes", "the same grid without training", "float"],
        metric="Spearman on STS-B test",
        values={
            "trained on three axes": trained,
            "the same grid without training": untrained["sts"],
            "float": {f"layers={LAYERS[-1]},dims={DIMS[-1]},bits=32": whole["sts"]},
        },
        outcome="won" if beaten else "lost" if small is None else "mixed",
        note=f"The float model has {whole['sts']:.3f} with {whole['bytes'] / 1e6:.1f} MB; 97 % of it is {floor:.3f}. "
        f"Trained, the least bytes: {told('trained', 'bytes', 1e6, 'MB')}; the least arithmetic: "
        f"{told('trained', 'flops', 1e9, 'GFLOPs')}. Without training: {told('untrained', 'bytes', 1e6, 'MB')}; "
        f"{told('untrained', 'flops', 1e9, 'GFLOPs')}. The best cut of 2 bits has {two:.3f}, the best of fewer layers "
        f"{shallow:.3f}. Seeds: {len(found)}; {training}. Bytes are of weights that a cut reads; those of one stored "
        "embedding follow its dims.",
        command="python -m benchmarks.quantize.matquant_three_axes --data DATA_DIR --cache CACHE",
        data="sentences of STS-B train; every fourth pair of STS-B test (345)",
    )
    print({key: (size, means.get(size or "")) for key, size in picks.items()})


if __name__ == "__main__":
    main()
