"""
Starbucks (Zhuang et al. 2024, arXiv 2410.13230), both halves: SMAE pre-training, then tuning the same menu of sizes.

    python -m recipes.starbucks --data DATA_DIR --out OUT              # a small BERT from random weights
    python -m recipes.starbucks --data DATA_DIR --out OUT --model bert-base-uncased --sizes 2:32,4:64,6:128,12:768

Data      DATA_DIR/multi30k (60,000 captions to read), DATA_DIR/snli_devtest (5,237 triplets to tune on), DATA_DIR/stsb
          (to measure by; never trained on).
Cost      400 steps of pre-training and 100 of tuning: two minutes of one core.
Hardware  One core of an AMD EPYC with bfloat16.
Result    Row smae-pretraining (three seeds, STS-B and SICK, at 1:32 and 2:64, vectors from CLS): SMAE 0.218 and 0.276,
          plain MLM of as much time 0.228 and 0.285, no pre-training 0.391 and 0.409: so little text does not help. What
          Starbucks does for a trained model: row starbucks-menu.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from benchmarks.text.layers import triplets
from benchmarks.text.smae import BATCH, LENGTH, MENU, TUNING, make_base, text, windows_of

import anysize as az
from anysize.backbones.sentence import supports_bf16
from anysize.core.verbs.fit import unfinished
from anysize.text import SMAE, Starbucks


def main(words: Sequence[str] | None = None) -> None:
    """Pre-train, tune, measure every size of the menu, and write the smallest as an ordinary model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for both models and the cut")
    parser.add_argument("--model", help="where to start from; default: a small BERT with a vocabulary of its own")
    parser.add_argument("--sizes", default=",".join(MENU))
    parser.add_argument("--steps", type=int, default=400, help="of pre-training")
    parser.add_argument("--tuning-steps", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of pre-training")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(words)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)

    reading, tuning, menu = text(args.data), triplets(args.data), tuple(args.sizes.split(","))
    base = Path(args.model) if args.model else args.out / "base"
    if not args.model and not (base / "config.json").exists():
        make_base(base, reading.texts)
    shared = {"seed": args.seed, "bf16": supports_bf16(), "sizes": menu}
    before = SMAE(
        model=str(base), batch_size=BATCH, max_length=LENGTH, learning_rate=args.learning_rate,
        epochs=args.steps / (windows_of(base, reading) // BATCH), **shared,
    )  # fmt: skip
    encoder = az.fit(reading, method=before, out=args.out / "smae", resume=unfinished(args.out / "smae"))
    for size, terms in encoder.about["losses_by_size"].items():
        print(size, ", ".join(f"{name} {value:.3f}" for name, value in terms.items()))

    rows = len(tuning.training_pairs() or ())
    after = Starbucks(
        model=str(args.out / "smae"), **{**TUNING, **shared}, epochs=args.tuning_steps * TUNING["batch_size"] / rows
    )
    model = az.fit(tuning, method=after, out=args.out / "model", resume=unfinished(args.out / "model"))
    print(az.measure(model, args.data / "stsb" / "test.tsv", arms=["truncate"]).table())
    smallest = model.nesting[0]
    model.at(smallest).export(args.out / "cut")
    print(f"an ordinary model of {smallest} is in {args.out / 'cut'}")


if __name__ == "__main__":
    main()
