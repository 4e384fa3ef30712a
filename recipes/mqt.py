"""
MQT (Hu et al. 2024, arXiv 2405.19315): ordered queries, of which any number reads a picture.

    python -m recipes.mqt --out OUT

Data      composites of scikit-learn's handwritten digits and questions about them, made in OUT/digits; test pictures
          show other scans than those of training.
Cost      a small model that answers at all tokens (1,500 steps, or --warm fewer), 100 steps that align 16 queries, and
          200 at a random number of them each.
Hardware  any processor.
Result    OUT/queries and its frontier at 1 to 16 tokens; then answers at a number of tokens that is not listed.
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
from anysize.tokens import MQT


def main(words: Sequence[str] | None = None) -> None:
    """Make the data and the model to start from, put queries in it, measure it, and ask at any budget."""
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
    method = MQT(
        model=str(start), tokens=(1, 2, 4, 8, 16), heads=4, epochs=2.0, batch_size=64, learning_rate=5e-4,
        align_epochs=1.0,
    )  # fmt: skip
    place = args.out / "queries"
    queries = az.fit(digits / "train.jsonl", method=method, out=place, resume=unfinished(place))
    frontier = az.measure(queries, digits / "test.jsonl")
    print(frontier.table())
    frontier.to_html(args.out / "queries.html", panels=panels(queries, digits / "test.jsonl", frontier))
    question = [{"image": digits / "test" / "test0.png"}, {"text": "how full"}]
    print("at 5 tokens:", queries.at(tokens=5).generate([question], max_new_tokens=2))


if __name__ == "__main__":
    main()
