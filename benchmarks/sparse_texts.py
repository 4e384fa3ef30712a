"""Texts that benchmarks of sparse codes learn from and are measured on, and vocabularies, embedded once and kept."""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODEL = "all-MiniLM-L6-v2"
HELD_OUT = 3000


@dataclass(frozen=True)
class Embedded:
    """Distinct texts in a fixed random order with their unit embeddings; the last 3,000 are held out."""

    texts: list[str]
    vectors: np.ndarray
    """(n, 384) float32."""

    @property
    def train(self) -> np.ndarray:
        """All but the held-out rows."""
        return self.vectors[:-HELD_OUT]

    @property
    def held_out(self) -> np.ndarray:
        """The last rows."""
        return self.vectors[-HELD_OUT:]


def texts_of(data: Path) -> list[str]:
    """24,000 distinct texts: photo captions, news, questions to a bank, abstracts of electronics."""
    with gzip.open(data / "multi30k" / "captions_en5_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        captions = [json.loads(line)["captions"][0] for line in lines][:12000]
    news = [f"{cells[1]}. {cells[2]}" for part in ("train", "test") for cells in _tsv(data / "ag_news" / f"{part}.tsv")]
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as lines:
        bank = [row["text"] for row in csv.DictReader(lines)][::3]
    with gzip.open(data / "npl" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        abstracts = [json.loads(line)["text"] for line in lines]
    found = list(dict.fromkeys([*captions, *news, *bank, *abstracts]))
    random.Random(0).shuffle(found)
    return found[:24000]


def words_of(data: Path) -> list[str]:
    """The 10,000 commonest words and the 10,000 commonest pairs of the two LAION lists, which begin with the rarest."""
    lists = data / "word_lists"
    words = (lists / "laion_400_unigram.txt").read_text("utf-8").split("\n")
    pairs = (lists / "laion_bigrams.txt").read_text("utf-8").split("\n")
    return list(dict.fromkeys(word for part in (words, pairs) for word in [w for w in part if w.strip()][-10000:]))


def embedded(texts: Sequence[str], cache: Path, name: str) -> Embedded:
    """The texts' embeddings, from the cache if they are there."""
    path = cache / f"{name}.npy"
    if not path.exists():
        from anysize.text.encoder import Encoder

        cache.mkdir(parents=True, exist_ok=True)
        model = Encoder(MODEL)
        vectors = np.asarray(model.encode(list(texts)), np.float32)
        scratch = path.with_suffix(f".{os.getpid()}.npy")
        np.save(scratch, vectors)
        os.replace(scratch, path)
    vectors = np.load(path)
    assert len(vectors) == len(texts), f"{path} belongs to other texts; delete it"
    return Embedded(list(texts), vectors)


def _tsv(path: Path) -> list[list[str]]:
    rows = [line.split("\t") for line in path.read_text("utf-8").split("\n")[1:]]
    return [row for row in rows if len(row) == 3]
