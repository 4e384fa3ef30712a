"""
MatQuant on a small Llama: quantisation-aware training and OmniQuant, at 8 to 2 bits.

    python -m benchmarks.quantize.small_lm --data DATA_DIR --cache CACHE       # first: the float model
    python -m benchmarks.quantize.matquant_lm --data DATA_DIR --cache CACHE  # about an hour and a half of one free core

All arms learn the next token of the text that the float model was trained on (quantisation-aware training), or to give
what each of its blocks gives (OmniQuant). Measured is cross-entropy in nats per token: on parts of the novels and of
WikiText that nothing was trained on, and on Shakespeare. Rates are chosen on other such parts of the novels. Finished
arms are kept in --cache, so that a stopped run continues; `--minutes` ends one early.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from anysize.backbones.sentence import supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.records import Items
from anysize.core.errors import AnysizeError
from anysize.quantize import MatQuant
from benchmarks.common import arguments
from benchmarks.evidence import write_row
from benchmarks.quantize.matquant_arms import ARMS, FIRST, Bench, Runs, Scores, orderings, outcome
from benchmarks.quantize.small_lm import DEPTH, LENGTH, WIDTH, Corpus, as_pretrained, blocks, corpus

BATCH, MODULES = 8, ("ffn", "attention")
RATES = {"qat": (1e-4, 3e-4, 1e-3, 3e-3), "omniquant": (1e-2, 2e-2, 5e-2, 2e-1)}


def benches(folder: Path, cache: Path, texts: Corpus, steps: int, windows: int, passes: int) -> list[Bench]:
    """Both bases. OmniQuant goes `passes` times over `windows` windows."""
    model = str(as_pretrained(cache))
    parts = blocks(folder)["train"]
    data = Data("novels and WikiText", "novels", corpus=Items([str(n) for n in range(len(parts))], parts))
    rows = len(texts.train) * 0.9 / (LENGTH + 1)  # the method itself holds a tenth of the texts back

    def measure(views: dict[int, Any]) -> Scores:
        return {
            "held out": {f"bits={bits}": view.loss(texts.test) for bits, view in views.items()},
            "shakespeare": {f"bits={bits}": view.loss(texts.other) for bits, view in views.items()},
        }

    def bench(base: Any) -> Bench:
        def method(seed: int, rate: float) -> MatQuant:
            return MatQuant(
                model=model,
                base=base,
                modules=MODULES,
                symmetric=False,
                batch_size=BATCH,
                max_length=LENGTH,
                learning_rate=rate,
                epochs=steps * BATCH / rows if base == "qat" else passes,
                calibration=windows,
                seed=seed,
                bf16=supports_bf16() and base == "qat",
            )

        arms = ARMS[: FIRST + (3 if base == "qat" else 1)]
        return Bench(
            f"lm-{base}", method, data, lambda view: -float(view.loss(texts.valid)), measure, RATES[base], arms
        )

    return [bench(base) for base in RATES]


def main() -> None:
    """Run what is missing, then write the rows of the seeds that are whole."""
    parser = arguments(__doc__, "data", "cache", seeds=3, steps=200, windows=64, passes=10)
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing new after so long")
    args = parser.parse_args()
    progress = args.cache / "pretraining.json"
    said = json.loads(progress.read_text("utf-8")) if progress.exists() else {"steps": 0, "of": 1}
    if said["steps"] < said["of"]:
        raise AnysizeError(f"{args.cache} holds no finished model; run python -m benchmarks.quantize.small_lm first")
    runs = Runs(args.cache, args.minutes)
    texts = corpus(args.data, args.cache)
    every = benches(args.data, args.cache, texts, args.steps, args.windows, args.passes)
    runs.all(every, args.seeds)
    for bench in every:
        report(runs, bench, args, len(texts.train))


def report(runs: Runs, bench: Bench, args: argparse.Namespace, tokens: int) -> None:
    """Judge the paper's orderings and write them down, if there is a whole seed."""
    whole, values = runs.values(bench, args.seeds)
    if not whole:
        return
    judged = orderings(values["held out"], more_is_better=False)
    elsewhere = "; ".join(map(str, orderings(values["shakespeare"], more_is_better=False)))
    held = values["held out"]
    said = json.loads((args.cache / "pretraining.json").read_text("utf-8"))
    plateau = ", ".join(f"{one['valid']:.3f} after {one['step']}" for one in said["history"])
    qat = bench.name == "lm-qat"
    base, budget = (
        ("quantisation-aware training", f"{args.steps} steps of {BATCH} windows")
        if qat
        else ("OmniQuant", f"{args.passes} passes over {args.windows} windows per block")
    )
    untrained = held["untrained, own scales"]["bits=2"][0], held["untrained, sliced"]["bits=2"][0]
    float_loss = held["float"]["bits=32"][0]
    write_row(
        f"matquant-{bench.name}",
        paper="Matryoshka Quantization, arXiv 2502.06786",
        claim=f"A small Llama, all linear layers of its blocks, {base}: at 2 bits MatQuant beats the int8 model sliced "
        "(A) and int2 trained alone (C), and at 8 and 4 bits it is within 1 % of models trained there alone (B)",
        reported="int2 loss, Gemma-2 2B and 9B and Mistral 7B: "
        + ("3.06, 2.66, 2.52 against 3.43, 2.92, 2.70 alone" if qat else "3.80, 3.19, 3.15 against 3.84, 3.29, 3.93"),
        arms=list(held),
        metric="cross-entropy in nats per token, less is better",
        values={**values, "rates": {arm: f"{runs.rate(bench, arm):g}" for arm in held if arm in ARMS}},
        outcome=outcome(judged),
        note=f"Held-out text, {whole} seeds (fewer where fewer are listed): {'; '.join(map(str, judged))}. "
        f"Shakespeare: {elsewhere}. The float model has {float_loss:.3f}; without training 2 bits cost "
        f"{untrained[0] - float_loss:.3f} nats with scales of their own and {untrained[1] - float_loss:.3f} sliced "
        f"(wanted: at least 0.3). Its validation loss in pre-training: {plateau} steps. {budget} of {LENGTH} tokens. "
        "Rates were chosen with seed 0.",
        command="python -m benchmarks.quantize.small_lm --data DATA_DIR --cache CACHE && "
        "python -m benchmarks.quantize.matquant_lm --data DATA_DIR --cache CACHE",
        data=f"three novels and WikiText-2's validation part, {tokens} tokens; Llama of {DEPTH} blocks, width {WIDTH}, "
        f"{said['steps']} steps of pre-training",
    )


if __name__ == "__main__":
    main()
