"""
From diagnoses in free text to ICD-10 codes (RuCCoD), on a small clinic that never was.

    python -m recipes.coding --out DIR        # half a minute on one core

Writes invented documents in RuCCoD's format, fits a coder without any pretrained model, measures it at every size
beside vectors trained for the full size and cut, chooses the cheapest size within 2 %, cuts it out, and codes a note.
With --data FOLDER it does the same on RuCCoD itself (four minutes of one core), whose files carry no licence and are
no part of this project; what it reaches there stands in docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import arguments

import anysize as az
from anysize.coding.method import ICD
from anysize.coding.reading.data import read_folder
from recipes.coding_sample import write

NOTE = "хр. холецистит, обострение; ИБС. Контроль через месяц."


def main(words: Sequence[str] | None = None) -> None:
    """Fit, measure, choose, cut, run."""
    parser = arguments(__doc__, "out", seed=0)
    parser.add_argument("--data", type=Path, help="a folder of annotated documents; without it, invented ones")
    given = parser.parse_args(words)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.data is None:
        data = read_folder(write(given.out / "clinic"))
        method = ICD(dims=(8, 16, 32), candidates=(10, 25), iterations=50, seed=given.seed)
    else:
        data, method = read_folder(given.data), ICD(seed=given.seed)
    for note in data.notes:
        print(f"note: {note}")
    coder = az.fit(data, method=method, out=given.out / "coder")
    frontier = az.measure(coder, data, arms=["tf-idf", "plain"])
    print(frontier.table())
    size = frontier.cheapest(within=0.02).size
    print(f"cheapest within 2 %: {size}")
    coder.extract(size).save(given.out / "small")
    small = az.load(given.out / "small")
    for one in az.run(small, NOTE, top=3).outputs[0]["spans"]:
        print(one["start"], one["end"], one["mention"], one["code"], one["name"], one["score"])


if __name__ == "__main__":
    main()
