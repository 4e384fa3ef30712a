"""
MatQuant (Nair et al. 2025, arXiv 2502.06786): one file of codes for every precision, and the width that fits a budget.

    python -m recipes.matquant --data DATA_DIR --out OUT                                   # a sentence encoder
    python -m recipes.matquant --data DATA_DIR --out OUT --base omniquant --learning-rate 5e-3 --epochs 10
    python -m recipes.matquant --learn TEXTS --measure TEXTS --out OUT --model LM_FOLDER   # a causal language model

Data      DATA_DIR/stsb: sentences of train to learn from (the float model is the teacher), scored pairs of test to
          measure by.
Cost      training takes about 30 s per 100 steps of one core, measuring all widths and their rivals several minutes.
Hardware  an AMD EPYC with bfloat16, one thread.
Result    rows that begin with matquant- in docs/evidence.md: the zero-point in the middle, which this recipe fixes, is
          what narrow widths gain most by.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import anysize as az
from anysize.backbones.causal import is_causal_lm
from anysize.backbones.sentence import supports_bf16
from anysize.core.errors import AnysizeError
from anysize.core.verbs.fit import unfinished
from anysize.quantize import MatQuant


def main(words: Sequence[str] | None = None) -> None:
    """Fit, measure every width beside codes without training, choose one, and write it for other engines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder that holds stsb; or give --learn and --measure")
    parser.add_argument("--learn", help="what to learn from instead")
    parser.add_argument("--measure", help="what to measure by instead")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the model and what is cut from it")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--modules", default="linear")
    parser.add_argument("--base", choices=("qat", "omniquant"), default="qat")
    parser.add_argument("--epochs", type=float, default=0.2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--max-length", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=0.02, help="the share of quality that the width may lose")
    parser.add_argument("--formats", default="onnx,gguf,compressed-tensors")
    args = parser.parse_args(words)
    if args.data is None and None in (args.learn, args.measure):
        parser.error("give --data, or --learn and --measure")
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)

    method = MatQuant(
        model=args.model,
        modules=tuple(args.modules.split(",")),
        base=args.base,
        clip_only=True,
        learn_from="auto" if is_causal_lm(args.model) else "embeddings",
        batch_size=16,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        max_length=args.max_length,
        bf16=supports_bf16() and args.base == "qat",
        seed=args.seed,
    )
    learn = args.learn or args.data / "stsb" / "train.tsv"
    out = args.out / "model"
    model = az.fit(learn, method=method, out=out, resume=unfinished(out))
    frontier = az.measure(model, args.measure or args.data / "stsb" / "test.tsv", arms=["minmax"])
    print(frontier.table(within=args.within))
    view = az.load(out, frontier.cheapest(within=args.within).size)
    print(f"{view.size} loses at most {args.within:.0%}")
    for form in args.formats.split(","):
        try:
            view.export(args.out / form, form)
            print(f"{form}: {args.out / form}")
        except AnysizeError as error:
            print(f"{form}: {error}")


if __name__ == "__main__":
    main()
