"""
The jina-embeddings-v3 recipe (Sturua et al. 2024, arXiv 2409.10173) at any scale: pairs, then an adapter per task.

    python -m recipes.jina_v3 --data DATA_DIR --out DIR                     # four tasks over all-MiniLM-L6-v2
    python -m recipes.jina_v3 --data DATA_DIR --out DIR --model BASE        # a sentence-transformers folder or hub name

Data      DATA_DIR/stsb, banking77 and trec_questions; pairs for both stages from the docstrings of installed packages,
          or --pairs FILE (anchor, positive).
Cost      A minute and a half of one core as it stands; --rows, --first and --steps ask for more.
Hardware  One core of an AMD EPYC shared with others, no GPU.
Result    Seed 0, 1000 pairs, then 40 steps: retrieval nDCG@10 0.606 untouched, 0.629 after the pairs, 0.635 with its
          adapter (0.305, 0.389, 0.392 at 32 of 384 dims). Text-matching 0.805, 0.798, 0.798; classification 0.765,
          0.753, 0.753; separation 0.278, 0.258, 0.267: so short a run teaches retrieval alone. With --instructions
          and --learning-rate 0.005 retrieval fell to 0.583.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.text.task_corpora import METRICS, OWN, Corpora

import anysize as az
from anysize.backbones.sentence import Encoder, supports_bf16
from anysize.core.data.read import read
from anysize.core.data.records import Table
from anysize.core.files import write_json
from anysize.core.sizes.widths import default_dims
from anysize.text import TaskEncoder, Tasks

Scores = dict[str, dict[str, dict[str, float]]]
"""Arm -> task -> width -> its metric."""


def trained(args: argparse.Namespace, corpora: Corpora) -> TaskEncoder:
    """Both stages; a run that was stopped continues."""
    files = corpora.write(args.out / "data")
    method = Tasks(
        model=args.model,
        task=[f"{task}={files[task]}" for task in OWN],
        dims=args.dims,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        instructions=args.instructions,
        base_epochs=args.base_epochs,
        max_length=args.max_length,
        bf16=supports_bf16(),
    )
    model = args.out / "model"
    begun = model.exists() or model.with_name("model.partial").exists()
    found = az.fit(str(files["first"]) if len(corpora.first) else "none", method=method, out=model, resume=begun)
    assert isinstance(found, TaskEncoder)
    return found


def measured(model: TaskEncoder, base: str, corpora: Corpora) -> Scores:
    """Each task with its own adapter, beside the base as it was and after its first stage."""
    half, dims = supports_bf16(), model.nesting.values("dims")
    plain = Encoder(base)
    if model.encoder.settings["max_length"] < (plain.model.max_seq_length or 0):
        plain.model.max_seq_length = model.encoder.settings["max_length"]
    tuned = Encoder(model.base())
    return {
        "untouched base": corpora.scores(lambda texts, _: plain.encode(texts, bf16=half), None, dims),
        "after the pairs": corpora.scores(lambda texts, _: tuned.encode(texts, bf16=half), None, dims),
        "its own adapter": corpora.scores(lambda texts, task: model.features(texts, task=task, bf16=half), None, dims),
    }


def table(scores: Scores, dims: Sequence[int]) -> str:
    """As text: a line per task and arm, a column per width."""
    lines = [f"{'':16}{'':18}" + "".join(f"{dim:>8}" for dim in dims)]
    for task, metric in METRICS.items():
        for place, (arm, found) in enumerate(scores.items()):
            name = task if not place else metric if place == 1 else ""
            lines.append(f"{name:16}{arm:18}" + "".join(f"{found[task][str(dim)]:8.3f}" for dim in dims))
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Train, measure, print the table and keep it beside the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the data files, the model and the table")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--pairs", type=Path, help="pairs of your own in place of docstrings")
    parser.add_argument(
        "--dims", type=lambda word: tuple(map(int, word.split(","))), help="default: halves of the width"
    )
    parser.add_argument("--rows", type=int, default=1000, help="to learn from, for each task")
    parser.add_argument("--first", type=int, default=1000, help="pairs to tune the whole encoder on first")
    parser.add_argument("--base-epochs", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=40, help="of the adapters, over all tasks together")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="of the adapters")
    parser.add_argument("--max-length", type=int, default=32)
    # A short run does not learn to read past an instruction, which takes a third of 32 tokens besides.
    parser.add_argument("--instructions", action="store_true", help="put the paper's before queries and documents")
    args = parser.parse_args(words)
    pairs: Table | None = read(args.pairs).pairs if args.pairs else None
    args.dims = args.dims or default_dims(Encoder(args.model).dimension)
    corpora = Corpora(args.data, args.rows, "test", args.first, pairs)
    model = trained(args, corpora)
    scores = measured(model, args.model, corpora)
    write_json(args.out / "scores.json", scores)
    print(table(scores, args.dims))


if __name__ == "__main__":
    main()
