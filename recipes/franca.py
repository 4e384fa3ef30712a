"""
Franca (Venkataramanan, Pariza et al. 2025, arXiv 2507.14137): an image encoder without labels, good at every prefix.

    python -m recipes.franca --out OUT            # or --data, a folder of your own pictures, and --model timm:NAME

Data      scikit-learn's 1,797 digits, 16 x 16 pixels; labels are used to measure, and by the head in the end.
Cost      a minute of one core (58 s measured): 10 passes over a transformer of four blocks, then a linear head.
Hardware  any processor; with --model and --data whatever these need.
Result    OUT/seer, trained without labels, with its frontier (k-NN at 8 to 64 dims) and page OUT/seer.html with the
          nearest pictures at each size; OUT/told, a head over it that was told the labels of four fifths; OUT/cut, 16
          dims of that as ONNX.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import anysize as az
from anysize.core.frontier.tolerance import usual
from anysize.core.verbs.fit import unfinished
from anysize.core.verbs.panels import panels
from anysize.vision import Franca
from recipes.digits import write_pictures, write_transformer


def main(words: Sequence[str] | None = None) -> None:
    """Train without labels, measure, learn a head from labels, and cut it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the models and the page")
    parser.add_argument("--data", help="a folder of pictures, one within for each class; default: digits")
    parser.add_argument("--model", help="the model to train, from its own weights; default: a small one, from scratch")
    parser.add_argument("--epochs", type=float, default=10, help="passes over the pictures")
    parser.add_argument("--count", type=int, help="how many digits; default: all")
    args = parser.parse_args(words)

    data = az.read(args.data or write_pictures(args.out / "digits", args.count))
    model = args.model or str(write_transformer(args.out / "transformer"))
    method = Franca(
        model=model, dims=(8, 16, 32, 64), epochs=args.epochs, learning_rate=1e-3, hidden=256, bottleneck=64,
        local_crops=4, local_scale=(0.2, 0.5), global_scale=(0.5, 1.0),
    )  # fmt: skip
    out = args.out / "seer"
    seer = az.fit(data, method=method, out=out, resume=unfinished(out))
    frontier = az.measure(seer, data, by="knn", arms=["pca", "truncate"])
    print(frontier.table(within=usual(frontier.metric)))
    frontier.to_html(args.out / "seer.html", panels=panels(seer, data, frontier))

    out = args.out / "told"
    told = az.fit(
        data, method="mrl", model=str(args.out / "seer"), dims=(8, 16, 32, 64), out=out, resume=unfinished(out)
    )
    frontier = az.measure(told, data, by="knn", arms=["pca", "truncate"])
    print(frontier.table(within=usual(frontier.metric)))
    print(told.at(dims=16).export(args.out / "cut").how)


if __name__ == "__main__":
    main()
