"""
M3 (Cai et al. 2024, arXiv 2405.17430): one vision-language model that reads a picture in 1, 4 or 16 tokens.

    python -m recipes.m3 --out OUT

Data      composites of scikit-learn's handwritten digits and questions about them, made in OUT/digits; test pictures
          show other scans than those of training.
Cost      a small model that answers at all tokens (1,500 steps, or --warm fewer), then 200 steps over three grids each.
Hardware  any processor.
Result    OUT/eye, its frontier, and OUT/llava4, the model at 4 tokens, which loads in transformers alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tokens.base import base
from benchmarks.tokens.digits import write

import anysize as az
from anysize.core.verbs.fit import unfinished
from anysize.core.verbs.panels import panels
from anysize.tokens import M3


def main(words: Sequence[str] | None = None) -> None:
    """Make the data and the model to start from, nest it, measure it and cut it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the data, the models and the frontier")
    parser.add_argument("--warm", type=int, default=1500, help="steps of the model to start from")
    parser.add_argument("--each", type=int, default=1600, help="questions of each kind to learn from")
    args = parser.parse_args(words)

    start = base(args.out / "base", 0, warm=min(150, args.warm), steps=args.warm, pictures=4 * args.each)
    digits = args.out / "digits"
    if not digits.exists():
        write(digits, "train", args.each, args.each, test=False)
        write(digits, "test", args.each // 4, args.each // 8, test=True)
    method = M3(model=str(start), tokens=(1, 4, 16), epochs=2.0, batch_size=64, learning_rate=5e-4)
    eye = az.fit(digits / "train.jsonl", method=method, out=args.out / "eye", resume=unfinished(args.out / "eye"))
    frontier = az.measure(eye, digits / "test.jsonl")
    print(frontier.table())
    frontier.to_html(args.out / "eye.html", panels=panels(eye, digits / "test.jsonl", frontier))
    print(eye.at(tokens=4).export(args.out / "llava4").how)


if __name__ == "__main__":
    main()
