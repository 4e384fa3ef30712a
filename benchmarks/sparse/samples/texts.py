"""
Texts that benchmarks of sparse codes learn from and are measured on, and vocabularies, embedded once and kept.

DATA_DIR holds multi30k/, ag_news/, banking77/, npl/, and word_lists/ for the vocabulary.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.sparse.samples.sample import Sample, kept_rows

MODEL = "all-MiniLM-L6-v2"
HELD_OUT = 3000


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


def embedded(texts: Sequence[str], cache: Path, name: str) -> Sample:
    """The texts' unit embeddings, from the cache if they are there; the last 3,000 are held out."""

    def run() -> np.ndarray:
        from anysize.backbones.sentence import Encoder

        return np.asarray(Encoder(MODEL).encode(list(texts)))

    vectors = kept_rows(cache / f"{name}.npy", run)
    assert len(vectors) == len(texts), f"{cache / name}.npy belongs to other texts; delete it"
    source = "captions, news, bank questions and abstracts (MiniLM)"
    return Sample(vectors, HELD_OUT, "embeddings", source, list(texts))


def _tsv(path: Path) -> list[list[str]]:
    rows = [line.split("\t") for line in path.read_text("utf-8").split("\n")[1:]]
    return [row for row in rows if len(row) == 3]
