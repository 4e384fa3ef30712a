"""
Questions about composites of real handwritten digits, some of which need many tokens of the picture and some few.

Each picture shows up to 16 of scikit-learn's digits (1,797 scans of 8 x 8 pixels) on a grid of 4 x 4 cells, of five of
the ten classes; the scans of training and test pictures are disjoint. Four kinds of question: what stands in a cell
(fine), how many of a digit there are, whether there is one (coarser), and how full the picture is (one token suffices).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

CELLS, PIXELS = 4, 8
SIDE = CELLS * PIXELS
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
KINDS = ("which", "many", "any", "full")
WORDS = (
    *("<pad>", "<s>", "</s>", "<unk>", "<image>", "what", "at", "how", "many", "is", "there"),
    *("full", "little", "half", "yes", "no", *NAMES),
    *(f"{row}{column}" for row in "abcd" for column in "1234"),
)


class Asked(NamedTuple):
    """One question about one picture."""

    picture: np.ndarray
    """(32, 32, 3), uint8."""
    question: str
    answer: str
    kind: str


@cache
def scans() -> tuple[np.ndarray, np.ndarray]:
    """(1797, 8, 8) scans, uint8, and which digit each is."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images * (255 / 16)).astype(np.uint8), found.target


def of_digits(*, test: bool) -> list[np.ndarray]:
    """For each digit, which scans of training or of the test show it; every fifth scan is for the test."""
    _, labels = scans()
    own = np.flatnonzero((np.arange(len(labels)) % 5 == 0) == test)
    return [own[labels[own] == digit] for digit in range(10)]


class Composites(NamedTuple):
    """Pictures and what they show."""

    pictures: np.ndarray
    """(n, 32, 32), uint8."""
    digits: np.ndarray
    """(n, 4, 4): which digit is in each cell, -1 for none."""


def composites(count: int, *, test: bool, seed: int) -> Composites:
    """Pictures of training or of test digits."""
    images, labels = scans()
    rng = np.random.default_rng([seed, int(test)])
    allowed = rng.permuted(np.tile(np.arange(10), (count, 1)), axis=1)[:, :5]
    classes = np.take_along_axis(allowed, rng.integers(0, 5, (count, CELLS * CELLS)), 1).reshape(count, CELLS, CELLS)
    drawn = rng.random((count, CELLS, CELLS))
    chosen = np.zeros((count, CELLS, CELLS), dtype=np.intp)
    for digit, own in enumerate(of_digits(test=test)):
        chosen = np.where(classes == digit, own[(drawn * len(own)).astype(np.intp)], chosen)
    there = rng.random((count, CELLS, CELLS)) < rng.uniform(0.4, 1.0, (count, 1, 1))
    tiles = images[chosen] * there[..., None, None]  # n, row, column, 8, 8
    pictures = tiles.transpose(0, 1, 3, 2, 4).reshape(count, SIDE, SIDE)
    return Composites(pictures.astype(np.uint8), np.where(there, labels[chosen], -1))


def questions(made: Composites, each: int, *, seed: int) -> list[Asked]:
    """`each` questions of every kind, spread over the pictures, the answers of each kind about even."""
    rng = np.random.default_rng([seed, 7])
    asked: list[Asked] = []
    for kind in KINDS:
        count = 0
        while count < each:
            place = int(rng.integers(len(made.pictures)))
            found = ask(kind, made.pictures[place], made.digits[place], rng)
            if found is not None:
                asked.append(Asked(np.repeat(made.pictures[place][..., None], 3, 2), *found, kind))
                count += 1
    order = rng.permutation(len(asked))
    return [asked[place] for place in order]


def ask(kind: str, picture: np.ndarray, digits: np.ndarray, rng: np.random.Generator) -> tuple[str, str] | None:
    """A question of a kind and its answer; None where the picture has none that is worth asking."""
    if kind == "which":
        row, column = (int(one) for one in rng.integers(0, CELLS, 2))
        digit = digits[row, column]
        return None if digit < 0 else (f"what at {'abcd'[row]}{column + 1}", NAMES[digit])
    if kind == "full":
        filled = int((digits >= 0).sum())
        return "how full", "little" if filled <= 9 else "half" if filled <= 12 else "full"
    there = np.bincount(digits[digits >= 0], minlength=10)
    digit = int(rng.integers(10))
    if kind == "many":
        wanted = int(rng.integers(1, 6))
        fitting = np.flatnonzero(there == wanted)
        if len(fitting) == 0:
            return None
        digit = int(rng.choice(fitting))
        return f"how many {NAMES[digit]}", NAMES[wanted]
    wanted = int(rng.integers(0, 2))
    fitting = np.flatnonzero((there > 0) == bool(wanted))
    if len(fitting) == 0:
        return None
    return f"is there {NAMES[int(rng.choice(fitting))]}", "yes" if wanted else "no"


def write(folder: Path, name: str, pictures: int, each: int, *, test: bool, seed: int = 0) -> Path:
    """A table `name`.jsonl of questions, `each` of every kind, with its pictures beside it; gives its path."""
    from PIL import Image

    made = composites(pictures, test=test, seed=seed)
    (folder / name).mkdir(parents=True)
    rows, known = [], dict[bytes, str]()
    for one in questions(made, each, seed=seed):
        place = known.setdefault(one.picture.tobytes(), f"{name}/{name}{len(known)}.png")
        if not (folder / place).exists():
            Image.fromarray(one.picture).save(folder / place)
        rows.append({"image": place, "question": one.question, "answer": one.answer, "kind": one.kind})
    table = folder / f"{name}.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return table
