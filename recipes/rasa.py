"""
RASA (Venkataramanan, Pariza et al. 2025, arXiv 2507.14137): patch features that follow things and not places.

    python -m recipes.rasa --out OUT              # or --data, a folder of your own pictures, and --model timm:NAME

Data      scikit-learn's digits in corners of pictures of 16 x 16 pixels, with masks of their ink.
Cost      14 s of one core, measured: a small transformer is trained without labels, then position is found in seconds.
Hardware  any processor.
Result    OUT/flat, the model with position taken out of its patches, and its frontier by masks (mean IoU of a linear
          layer on patches); OUT/flat.html with maps of clusters before and after. It prints what a probe reads of
          position, and how evenly clusters spread over places, before and after.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import anysize as az
from anysize.core.frontier.tolerance import usual
from anysize.core.verbs.fit import unfinished
from anysize.core.verbs.panels import panels
from anysize.vision import Franca, TakePositionOut, position_probe_r2, spatial_entropy
from anysize.vision.measuring.clustering import k_means
from recipes.digits import write_masks, write_transformer


def main(words: Sequence[str] | None = None) -> None:
    """Train a small model, take position out of its patches, and measure what was lost and won."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the models and the page")
    parser.add_argument("--data", help="a folder with metadata.jsonl: file_name and mask; default: digits")
    parser.add_argument("--model", help="the model to start from; default: a small one, trained first")
    parser.add_argument("--epochs", type=float, default=10, help="passes over the pictures, where it is trained first")
    parser.add_argument("--count", type=int, default=300, help="how many digits")
    args = parser.parse_args(words)

    data = az.read(args.data or write_masks(args.out / "digits", args.count))
    shown = [str(one) for one in data.table["image"]] if data.table is not None else list(data.items().rows)
    pictures = az.read([{"image": one} for one in shown])
    model = args.model
    if model is None:
        model, start = str(args.out / "seer"), str(write_transformer(args.out / "transformer"))
        method = Franca(
            model=start, dims=(16, 64), epochs=args.epochs, learning_rate=1e-3, hidden=256, bottleneck=64,
            local_crops=2,
            local_scale=(0.2, 0.5), global_scale=(0.5, 1.0),
        )  # fmt: skip
        az.fit(pictures, method=method, out=model, resume=unfinished(Path(model)))
    out = args.out / "flat"
    flat = az.fit(pictures, method=TakePositionOut(model=model), out=out, resume=unfinished(out))
    before: Any = az.load(out)
    before.flat = None
    for name, one in (("before", before), ("after", flat)):
        tokens = one.tokens(shown)
        rows = torch.from_numpy(tokens.reshape(-1, tokens.shape[-1]))
        places = k_means(torch.nn.functional.normalize(rows, dim=1), 12, restarts=1).numpy().reshape(len(tokens), -1)
        print(f"{name}: position R2 {position_probe_r2(tokens):.2f}, entropy of places {spatial_entropy(places):.2f}")
    frontier = az.measure(flat, data, by="segmentation", arms=["pca"], ignore=255)
    print(frontier.table(within=usual(frontier.metric)))
    frontier.to_html(args.out / "flat.html", panels=panels(flat, data, frontier))


if __name__ == "__main__":
    main()
