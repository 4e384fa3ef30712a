"""
MME (Zhang et al. 2025, arXiv 2502.12799): one embedder of texts beside pictures, at 1, 4 or 16 tokens a picture.

    python -m recipes.mme --out OUT

Data      documents of words and scikit-learn's handwritten digits, and queries that show other scans of the same
          digits, made in OUT/howto; what answers what is judged by id.
Cost      a tower that learns to tell digits apart (300 steps), then 200 steps over all nine pairs of sizes.
Hardware  any processor.
Result    OUT/finder and its frontier, with queries at 1 token a picture beside; OUT/idx, an index of the documents at
          16 tokens a picture, and what it finds for words beside a picture, asked at 4.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.tokens.interleaved import write
from benchmarks.tokens.seer import seer

import anysize as az
from anysize.core.verbs.fit import unfinished
from anysize.tokens import MME


def main(words: Sequence[str] | None = None) -> None:
    """Make the data and the model to start from, teach it to find, measure it and search with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the data, the models and the frontier")
    parser.add_argument("--warm", type=int, default=300, help="steps of the tower")
    parser.add_argument("--each", type=int, default=1600, help="queries to learn from")
    args = parser.parse_args(words)

    start = seer(args.out / "seer", 0, steps=args.warm)
    howto = args.out / "howto"
    if not howto.exists():
        write(howto, args.each, args.each // 8)
    method = MME(
        model=str(start), tokens=(1, 4, 16), epochs=4.0, batch_size=32, learning_rate=2e-3, train="language"
    )  # fmt: skip
    place = args.out / "finder"
    finder = az.fit(howto, method=method, out=place, resume=unfinished(place))
    frontier = az.measure(finder, howto, by="retrieval", query_sizes=("1",))
    print(frontier.table())
    frontier.to_html(args.out / "finder.html")
    data = az.read(howto)
    index = az.Index.build(args.out / "idx", finder, data.items(), model_path=place)
    query = data.judged().queries.rows[0]
    for hit in index.search(query, k=3, size="tokens=4").hits:
        print(f"{hit.score:.3f}  {hit.id}  {hit.text}")


if __name__ == "__main__":
    main()
