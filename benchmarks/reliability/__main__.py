"""
Run campaigns, print their tables and write their rows of evidence.

    python -m benchmarks.reliability [NAME ...] --scratch DIR [--trials N | NAME=N ...] [--seed 0] [--no-row]
"""

from __future__ import annotations

import os

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import importlib
import json
import random
import signal
import sys
import time
from pathlib import Path

from benchmarks.common import arguments
from benchmarks.reliability.artefacts import Scratch
from benchmarks.reliability.harness import Tally, preload, row

CAMPAIGNS = ("kills", "corruption", "malice", "arguments", "crowds", "interrupts", "full_disk")
PRELOAD = ("torch", "sentence_transformers", "transformers.trainer", "accelerate", "datasets", "faiss",
           "scipy.sparse", "pyarrow.parquet", "anysize.cli.verbs.fit", "anysize.cli.verbs.index",
           "anysize.cli.verbs.search", "anysize.cli.verbs.cut", "anysize.cli.verbs.measure",
           "anysize.cli.verbs.prune", "anysize.cli.verbs.info", "anysize.cli.options", "anysize.search",
           "anysize.search.store.codes", "anysize.sparse.methods.options", "anysize.text.embedder.method",
           "anysize.text.depth.methods", "anysize.text.tasks.method", "anysize.quantize.training.method",
           "anysize.classify.fit", "anysize.core.data.read", "anysize.sparse.formats.saelens",
           "anysize.sparse.formats.foreign", "anysize.core.verbs.measure")  # fmt: skip


def main() -> None:
    """Run what is named, or everything."""
    parser = arguments(__doc__, "scratch")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument(
        "--trials",
        nargs="*",
        default=[],
        metavar="N or NAME=N",
        help="trials of each campaign, or of one; without it, as many as its goal",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, help="write what was wrong here as JSON")
    parser.add_argument("--no-row", action="store_true", help="write no row of evidence")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    trials = {name: int(many) for name, _, many in (word.rpartition("=") for word in given.trials)}
    preload(PRELOAD)
    scratch = Scratch(given.scratch.resolve())
    found = {}
    for name in given.names or CAMPAIGNS:
        print(f"{name} ...", file=sys.stderr)
        campaign = importlib.import_module(f"benchmarks.reliability.{name}")
        begin, tally = time.perf_counter(), Tally(campaign.WRONG, campaign.APART)
        try:
            campaign.run(scratch, trials.get(name, trials.get("", campaign.GOAL)), random.Random(given.seed), tally)
        except KeyboardInterrupt:  # what was found so far is worth reading, and no evidence
            given.no_row = True
        print(f"\n{name}: {tally.trials} trials in {time.perf_counter() - begin:.0f} s\n{tally.text()}", flush=True)
        found[name] = {"trials": tally.trials, "values": tally.values(), "findings": tally.findings}
        if not given.no_row:
            row(name.replace("_", "-"), campaign.CLAIM, campaign.GOAL, tally, campaign.WORDS, given.seed)
    if given.findings:
        given.findings.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
