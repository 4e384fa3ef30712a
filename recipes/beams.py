"""
Beam codebooks (Dreifuerst, Heath and Yazdan 2022, arXiv 2204.06064): one book for 2 to 6 bits of feedback.

    python -m recipes.beams --out OUT            # or --channels uma:2000, which Sionna draws, or a file of your own

Data      recipes/channels/uma.npz: 320 links of an urban macro sector, 8 x 8 elements, drawn by Sionna 2.2.0 (settings
          beside it); every fifth drop is measured on and not learnt from.
Cost      about 10 s of one core: a book learns for 300 steps, a small network that makes books of reports for 100.
Hardware  any processor.
Result    OUT/book with its frontier and page OUT/beams.html, OUT/book16 (npz), and OUT/encoder. On 60 held-out links
          the book was 7.8 dB above the standard sweep at 8 beams, and 2.25 dB below each link's own best beam at 32. So
          few links say little: benchmarks/beams has rows over more.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import anysize as az
from anysize.beams import Beams
from anysize.core.frontier.tolerance import usual
from anysize.core.verbs.fit import unfinished
from anysize.core.verbs.panels import panels

CHANNELS = Path(__file__).parent / "channels" / "uma.npz"


def main(words: Sequence[str] | None = None) -> None:
    """Learn a book, measure it beside its rivals, cut it, and let a network make books of reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the book, the encoder and the page")
    parser.add_argument("--channels", default=str(CHANNELS), help="channels, or the name of a scenario (uma:2000)")
    parser.add_argument("--rounds", type=int, default=100, help="steps of the encoder")
    args = parser.parse_args(words)

    data = az.read(args.channels)
    out = args.out / "book"
    book = az.fit(data, method=Beams(beams=(4, 8, 16, 32)), out=out, resume=unfinished(out))
    frontier = az.measure(book, data, arms=["dft", "greedy", "tree", "single"])
    print(frontier.table(within=usual(frontier.metric)))
    frontier.to_html(args.out / "beams.html", panels=panels(book, data, frontier))
    print(book.at(beams=16).export(args.out / "book16").how)

    out = args.out / "encoder"
    method = Beams(beams=(4, 8, 16, 32), from_="reports", rounds=args.rounds)
    encoder = az.fit(data, method=method, out=out, resume=unfinished(out))
    print(az.measure(encoder, data, arms=["dft", "site", "genie"]).table(within=usual(frontier.metric)))


if __name__ == "__main__":
    main()
