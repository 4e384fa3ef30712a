"""
2DMSE (Li et al. 2024, arXiv 2402.14776): one encoder for every depth and width, and the cell that is worth deploying.

    python -m recipes.two_dmse --data DATA_DIR --out OUT                    # six depths, five widths, one seed
    python -m recipes.two_dmse --data DATA_DIR --out OUT --model BASE --layers 2,4,8,12 --dims 64,256,768

Data      DATA_DIR/snli_devtest (to learn from: 5,237 triplets) and DATA_DIR/stsb (to measure by; never trained on).
Cost      200 steps of 32: about three minutes of one core; then one pass over 2,758 sentences.
Hardware  One core of an AMD EPYC with bfloat16.
Result    Row 2dmse-grid (this training, three seeds, mean of STS-B and SICK): 3 layers x 48 0.662 where MRL alone has
          0.460, 2 layers x 24 0.543 against 0.455, full size 0.797 against 0.803 of plain tuning. Half
          the layers take half the time (row layers-latency).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from benchmarks.text.layers import triplets

import anysize as az
from anysize.backbones.sentence import supports_bf16
from anysize.core.verbs.fit import unfinished
from anysize.text import TwoDMSE


def numbers(text: str) -> tuple[int, ...]:
    """``2,4,6`` as whole numbers."""
    return tuple(int(part) for part in text.split(","))


def main(words: Sequence[str] | None = None) -> None:
    """Tune, measure every cell, choose one, and write it as an ordinary model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the model, its grid and the cut")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--layers", type=numbers, default=(1, 2, 3, 4, 5, 6))
    parser.add_argument("--dims", type=numbers, default=(24, 48, 96, 192, 384))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=0.05, help="the share of quality that the chosen cell may lose")
    args = parser.parse_args(words)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)

    data = triplets(args.data)
    method = TwoDMSE(
        model=args.model,
        layers=args.layers,
        dims=args.dims,
        epochs=args.steps * args.batch_size / len(data.training_pairs() or ()),
        batch_size=args.batch_size,
        max_length=64,
        bf16=supports_bf16(),
        seed=args.seed,
    )
    model = az.fit(data, method=method, out=args.out / "model", resume=unfinished(args.out / "model"))
    frontier = az.measure(model, args.data / "stsb" / "test.tsv", arms=["truncate"])
    print(frontier.table(within=args.within))
    chosen = frontier.cheapest(within=args.within).size
    frontier.plot(args.out / "grid.png", chosen=chosen)
    model.at(chosen).export(args.out / "cut")
    print(f"{chosen} loses at most {args.within:.0%}: an ordinary model of that size is in {args.out / 'cut'}")


if __name__ == "__main__":
    main()
