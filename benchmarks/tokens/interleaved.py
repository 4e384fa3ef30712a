"""
Interleaved documents of words and real handwritten digits, in which some content is told and some only shown.

A document has three to five items, each some words and a picture of 2 x 2 scans of scikit-learn's digits (32 x 32
pixels). Of every other item the words name one of twenty things, and the picture shows any digits; of the rest only the
picture says what they are. A query has two or three of a document's items, in their order, with other scans of the same
digits and another word for the same thing. Each document stands in the corpus backwards too, which answers nothing.
Scans of test pictures are none of training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anysize.core.data.data import Data
from anysize.core.data.records import Items, Retrieval, Table
from benchmarks.tokens.digits import NAMES, of_digits, scans

THINGS = tuple(f"thing{n}" for n in range(20))
SAME = tuple(f"object{n}" for n in range(20))
"""The same things, as queries name them."""
WORDS = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "see", "look", "the", "a", *THINGS, *SAME, *NAMES)

Parts = list[dict[str, Any]]


class Item(NamedTuple):
    """A thing that the words name, or None, and the digits that the picture shows."""

    thing: int | None
    digits: np.ndarray
    """(4,): top left, top right, bottom left, bottom right."""


@dataclass(frozen=True)
class Pairs:
    """Queries, the documents that answer them, and the same documents backwards."""

    queries: list[Parts]
    documents: list[Parts]
    backwards: list[Parts]

    def data(self) -> Data:
        """To learn from: each query with its document and, as a negative, the same backwards."""
        columns = {"anchor": self.queries, "positive": self.documents, "negative": self.backwards}
        return Data("interleaved digits", "made", table=Table(dict(columns), dict.fromkeys(columns, "parts")))

    def task(self, asking: int) -> Retrieval:
        """To measure by: the first `asking` queries, among all documents, forwards and backwards."""
        queries = Items([f"q{row}" for row in range(asking)], self.queries[:asking], "parts")
        ids = [f"{way}{row}" for way in "db" for row in range(len(self.documents))]
        corpus = Items(ids, [*self.documents, *self.backwards], "parts")
        return Retrieval(queries, corpus, {f"q{row}": {f"d{row}": 1.0} for row in range(asking)})


class Drawer:
    """Turns items into parts, with scans of training or of the test."""

    def __init__(self, rng: np.random.Generator, *, test: bool) -> None:
        self.rng, self.of, (self.images, _) = rng, of_digits(test=test), scans()

    def picture(self, digits: np.ndarray) -> np.ndarray:
        """(32, 32, 3), uint8: four scans of 8 x 8, each pixel twice as wide and high."""
        tiles = [self.images[self.rng.choice(self.of[digit])] for digit in digits]
        grid = np.block([[tiles[0], tiles[1]], [tiles[2], tiles[3]]])
        return np.repeat(np.kron(grid, np.ones((2, 2), np.uint8))[..., None], 3, 2)

    def items(self, count: int) -> list[Item]:
        """Items of one document, of which the words tell what every other is."""
        told = self.rng.permutation(np.arange(count) % 2 == 0)
        return [Item(int(self.rng.integers(20)) if one else None, self.rng.integers(0, 10, 4)) for one in told]

    def parts(self, of: list[Item], *, query: bool) -> Parts:
        """Words and a picture for each item; the picture of a thing shows any digits."""
        found: Parts = []
        for item in of:
            named = "" if item.thing is None else f" {(SAME if query else THINGS)[item.thing]}"
            digits = item.digits if item.thing is None else self.rng.integers(0, 10, 4)
            found += [{"text": f"{'look a' if query else 'see the'}{named}"}, {"image": self.picture(digits)}]
        return found


def pairs(count: int, *, test: bool, seed: int) -> Pairs:
    """So many queries and twice as many documents; the same for the same seed."""
    drawer = Drawer(np.random.default_rng([seed, int(test), 5]), test=test)
    made = Pairs([], [], [])
    for _ in range(count):
        of = drawer.items(int(drawer.rng.integers(3, 6)))
        asked = sorted(drawer.rng.choice(len(of), int(drawer.rng.integers(2, 4)), replace=False).tolist())
        made.queries.append(drawer.parts([of[one] for one in asked], query=True))
        made.documents.append(drawer.parts(of, query=False))
        made.backwards.append(drawer.parts(of[::-1], query=False))
    return made


def write(folder: Path, count: int, tested: int, seed: int = 0) -> Path:
    """A folder of documents, queries and judgements of a train and a test split; gives its path."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    (folder / "qrels").mkdir()
    number = 0

    def kept(parts: Parts) -> Parts:
        nonlocal number
        found = []
        for part in parts:
            if "image" in part:
                number += 1
                Image.fromarray(part["image"]).save(folder / "images" / f"{number}.png")
                part = {"image": f"images/{number}.png"}
            found.append(part)
        return found

    documents, queries = [], []
    for split, many in (("train", count), ("test", tested)):
        made = pairs(many, test=split == "test", seed=seed)
        lines = ["query-id\tcorpus-id\tscore"]
        for row, query in enumerate(made.queries):
            queries.append({"_id": f"{split}-q{row}", "parts": kept(query)})
            documents.append({"_id": f"{split}-d{row}", "parts": kept(made.documents[row])})
            documents.append({"_id": f"{split}-b{row}", "parts": kept(made.backwards[row])})
            lines.append(f"{split}-q{row}\t{split}-d{row}\t1")
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    return folder
