"""
SMAE against plain masked-language modelling, before the same Starbucks fine-tuning: equal steps, and equal time.

    python -m benchmarks.text.smae --data DATA_DIR --cache CACHE      # a quarter of an hour of one core for three seeds

A small BERT (4 layers, 128 wide, 4,000 word pieces learnt from the same text) starts from random weights, reads
captions of pictures, and is then tuned on SNLI triplets for a menu of three sizes; Spearman's correlation on STS-B
and SICK. The vector of a text is its first token's state (CLS), which SMAE trains and plain MLM does not; every arm is
therefore tuned with the mean of all states as well. Finished parts are kept in --cache, so
that a stopped run continues; the row is written once an arm's seeds are complete.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from anysize.backbones.huggingface import pretrained as without_code
from anysize.backbones.sentence import supports_bf16
from anysize.core.data.data import Data
from anysize.core.data.read import read
from anysize.core.data.records import Items
from anysize.core.files import write_json
from anysize.core.verbs.fit import fit, unfinished
from anysize.text import Starbucks
from anysize.text.pretrain.methods import MLM, SMAE, Pretrainer
from benchmarks.common import arguments, kept
from benchmarks.evidence import write_row
from benchmarks.text.layers import gaps, mean, measure, shown, triplets

MENU = ("1:32", "2:64", "4:128")
DIMS = (32, 64, 128)
ARMS = {
    "smae": "SMAE",
    "mlm": "plain MLM, as many steps",
    "mlm-time": "plain MLM, as much time",
    "none": "no pre-training but one step",
}
POOLINGS = ("cls", "mean")
BATCH, LENGTH, PIECES = 64, 48, 4000
TUNING: dict[str, Any] = {"batch_size": 32, "learning_rate": 3e-4, "max_length": LENGTH, "sizes": MENU}


def text(folder: Path) -> Data:
    """The first 60,000 captions of Multi30k: plain sentences, of which a small model learns something in minutes."""
    file = folder / "multi30k/captions_en5_train.jsonl.gz"
    lines = gzip.decompress(file.read_bytes()).splitlines()[:12_000]
    texts = [caption for line in lines for caption in json.loads(line)["captions"]]
    return Data("captions", "captions", corpus=Items([str(row) for row in range(len(texts))], texts))


def make_base(folder: Path, texts: list[str]) -> None:
    """A folder with a configuration and a tokenizer, whose vocabulary is learnt from `texts`; no weights."""
    from tokenizers.implementations import BertWordPieceTokenizer
    from transformers import BertConfig, BertTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    pieces = BertWordPieceTokenizer(lowercase=True)
    pieces.train_from_iterator(iter(texts), vocab_size=PIECES, show_progress=False)
    pieces.save_model(str(folder))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=128).save_pretrained(str(folder))
    BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
    ).save_pretrained(str(folder))


def pretrainer(arm: str, base: Path, seed: int, epochs: float) -> Pretrainer:
    """How an arm is pre-trained; all that is not said is the same."""
    shared: dict[str, Any] = {
        "model": str(base), "seed": seed, "epochs": epochs, "batch_size": BATCH, "max_length": LENGTH,
        "learning_rate": 1e-3, "bf16": supports_bf16(),
    }  # fmt: skip
    return SMAE(**shared, sizes=MENU) if arm == "smae" else MLM(**shared)


def seconds_per_step(base: Path, data: Data, steps: int = 80) -> dict[str, float]:
    """Processor seconds of a step, by arm: what a run of so many steps takes more than one of a fifth of them."""
    found = {}
    assert data.corpus is not None
    few = Data("part", "part", corpus=Items(data.corpus.ids[:4000], data.texts[:4000]))
    for arm in ("smae", "mlm"):
        spent = []
        windows = fit(few, method=pretrainer(arm, base, 0, 1e-9)).about["windows"]
        for part in (steps // 5, steps):
            start = time.process_time()
            fit(few, method=pretrainer(arm, base, 0, part / (windows // BATCH)))
            spent.append(time.process_time() - start)
        found[arm] = (spent[1] - spent[0]) / (steps - steps // 5)
    return found


def pretrained(args: argparse.Namespace, arm: str, seed: int, data: Data, costs: dict[str, float]) -> Path:
    """The folder of an arm's encoder, trained now if it is not there."""
    place = args.cache / f"{arm}-{seed}"
    if not place.exists():
        steps = round(args.steps * costs["smae"] / costs["mlm"]) if arm == "mlm-time" else args.steps
        epochs = 1e-9 if arm == "none" else steps / (args.windows // BATCH)  # the least there is: one step
        method = pretrainer(arm, args.cache / "base", seed, epochs)
        made = fit(data, method=method, out=place, resume=unfinished(place))
        print(seed, arm, made.about["losses"][-1], made.about["losses_by_size"], flush=True)
    return place


def pooled(place: Path, pooling: str) -> Path:
    """A copy of a pre-trained encoder's folder with that pooling."""
    twin = place.with_name(f"{place.name}-{pooling}")
    if not twin.exists():
        shutil.copytree(place, twin)
        config = json.loads((twin / "1_Pooling" / "config.json").read_text("utf-8"))
        write_json(twin / "1_Pooling" / "config.json", {**config, "pooling_mode": pooling})
    return twin


def main() -> None:
    """Run what is missing, then write the row."""
    parser = arguments(__doc__, "data", "cache", seeds=3, steps=400, tuning_steps=100)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    data = text(args.data)
    base, cost_file = args.cache / "base", args.cache / "costs.json"
    if not (base / "config.json").exists():
        make_base(base, data.texts)
    costs = kept(cost_file, seconds_per_step, base, data)
    print("processor seconds per step", costs, flush=True)
    args.windows = windows_of(base, data)
    pairs = triplets(args.data)
    rows = len(pairs.training_pairs() or ())
    tasks = {name: read(args.data / f"{name}/test.tsv") for name in ("stsb", "sick")}
    for pooling in POOLINGS:
        for seed in range(args.seeds):
            for arm in ARMS:
                file = args.cache / f"{arm}-{pooling}-{seed}.json"
                if file.exists():
                    continue
                place = pooled(pretrained(args, arm, seed, data, costs), pooling)
                epochs = args.tuning_steps * TUNING["batch_size"] / rows
                method = Starbucks(**TUNING, model=str(place), seed=seed, epochs=epochs, bf16=supports_bf16())
                write_json(file, measure(method.fit(pairs), tasks, DIMS))
                cells = {cell: round(value, 3) for cell, value in mean(file).items() if cell in MENU}
                print(seed, arm, pooling, cells, flush=True)
        write(args, costs, rows)


def windows_of(base: Path, data: Data) -> int:
    """How many windows the text fills."""
    from transformers import AutoTokenizer

    from anysize.text.pretrain.windows import TokenWindows

    return len(TokenWindows(data.texts, without_code(AutoTokenizer, base), LENGTH))


def write(args: argparse.Namespace, costs: dict[str, float], rows: int) -> None:
    """Claim: after the same tuning, SMAE is ahead of plain MLM at the two smallest sizes, with equal steps and time."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for pooling in POOLINGS:
        if all((args.cache / f"{arm}-{pooling}-{args.seeds - 1}.json").exists() for arm in ARMS):
            runs = {
                arm: [mean(args.cache / f"{arm}-{pooling}-{seed}.json") for seed in range(args.seeds)] for arm in ARMS
            }
            values[pooling] = {
                arm: {cell: [run[cell] for run in found] for cell in MENU} for arm, found in runs.items()
            }
    small, rivals = list(MENU[:2]), list(ARMS)[1:]
    ahead = {
        pooling: {rival: gaps(found, "smae", rival, small) for rival in rivals} for pooling, found in values.items()
    }
    signs = [gap > 0 for found in ahead.values() for rival in ("mlm", "mlm-time") for gap in found[rival]]
    outcome: Any = "won" if all(signs) else "lost" if not any(signs) else "mixed"
    made = [json.loads((args.cache / f"smae-{seed}" / "pretraining.json").read_text()) for seed in range(args.seeds)]
    told = [one["losses_by_size"] for one in made]
    ratios = {
        size: float(np.mean([one[size]["mae"] / one[size]["mae_shuffled"] for one in told])) for size in told[0]
    }  # fmt: skip
    write_row(
        "smae-pretraining",
        paper="Starbucks: Improved Training for 2D Matryoshka Embeddings, arXiv 2410.13230",
        claim="before the same tuning, SMAE leaves the two smallest sizes of the menu better than plain MLM does, at "
        "equal steps and at equal time, on every seed",
        reported="BERT-base on 100 B tokens of FineWeb, mean of 7 STS sets: +1.5 points at 2 layers x 32 and +3.0 at "
        "4 layers x 64 over tuning BERT as it is",
        arms=[f"{arm} ({words})" for arm, words in ARMS.items()],
        metric="Spearman's correlation of cosines, mean of STS-B and SICK (test parts)",
        values={
            **{f"pooling {pooling}": found for pooling, found in values.items()},
            "decoder's loss over its loss with another text's state": ratios,
        },
        outcome=outcome,
        note="SMAE minus its rivals, mean of the two smallest sizes: "
        + ". ".join(
            f"With pooling {pooling}, " + "; ".join(f"{ARMS[rival]} {shown(gap)}" for rival, gap in found.items())
            for pooling, found in ahead.items()
        )
        + ". A step of SMAE takes "
        f"{costs['smae'] / costs['mlm']:.2f} times the processor time of one of plain MLM. All start from random "
        f"weights and read {args.steps} batches of {BATCH} captions (the third arm "
        f"{round(args.steps * costs['smae'] / costs['mlm'])}), five orders of magnitude less than the paper's.",
        command="python -m benchmarks.text.smae --data DATA_DIR --cache CACHE",
        data=f"60,000 captions of Multi30k ({made[0]['tokens']} tokens in {made[0]['windows']} windows); then "
        f"{args.tuning_steps} steps of {TUNING['batch_size']} from {rows} triplets of SNLI's development and test "
        "parts (whose premises are captions of the same kind)",
    )


if __name__ == "__main__":
    main()
