"""Arabic pairs to learn from and to measure by, with what overlaps or was spoilt in translation taken out."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from anysize.core.data.data import Data
from anysize.core.data.files.rows import rows_of
from anysize.core.data.read import read
from anysize.core.data.records import Table
from anysize.text.arabic.normalizer import ArabicNormalizer
from anysize.text.arabic.translated import filter_translated_triplets

AS_WRITTEN = ArabicNormalizer(
    diacritics=False, tatweel=False, alef=False, ya=False, ta_marbuta=False, digits=False, presentation_forms=False
)
ENTAILMENT, CONTRADICTION = "1", "2"


@dataclass(frozen=True)
class Corpus:
    """Everything that a run reads, normalised alike on every side."""

    triplets: Table
    parallel: list[tuple[str, str]]
    """(Arabic, its English source), one per distinct Arabic sentence of the training rows."""
    unlabelled: list[str]
    """More Arabic text to learn a vocabulary from."""
    tests: dict[str, Data]
    """Name -> scored pairs."""
    valid: Data
    dropped: dict[str, int]


def load(folder: Path, normalizer: ArabicNormalizer, seed: int = 0) -> Corpus:
    """
    Read `folder`/arabic_nli and `folder`/sts17.

    No sentence of the test rows, Arabic or English, is in what is learnt from: the sets are one translated set (SICK)
    split by row, so its splits share sentences and, after translation, whole pairs.
    """
    nli = folder / "arabic_nli"
    splits = {split: _rows(nli / f"arnli_{split}.tsv", normalizer) for split in ("train", "valid", "test")}
    tested = {row[column] for row in splits["test"] for column in _TEXTS}
    rows = [row for row in splits["train"] if tested.isdisjoint(row[column] for column in _TEXTS)]
    triplets, dropped = filter_translated_triplets(_triplets(rows, seed), normalizer=normalizer)
    parallel = {row[side]: row[f"{side}_en"] for row in rows for side in ("premise", "hypothesis")}
    other = _rows(nli / "arbteds_train.tsv", normalizer)
    return Corpus(
        triplets,
        list(parallel.items()),
        [row[side] for row in other for side in ("premise", "hypothesis")],
        {
            "STS17 ar-ar": _normalised(read(folder / "sts17" / "ar-ar.tsv"), normalizer),
            "STS17 ar-en": _normalised(read(folder / "sts17" / "ar-en.tsv"), normalizer),
            "relatedness, test": _scored("arnli_test", splits["test"]),
        },
        _scored("arnli_valid", splits["valid"]),
        {"shares a sentence with the test rows": len(splits["train"]) - len(rows), **dropped},
    )


_TEXTS = ("premise", "hypothesis", "premise_en", "hypothesis_en")


def _rows(file: Path, normalizer: ArabicNormalizer) -> list[dict[str, str]]:
    return [
        {name: " ".join(normalizer(value).split()) if name in _TEXTS else value for name, value in row.values.items()}
        for row in rows_of(file)
    ]


def _triplets(rows: list[dict[str, str]], seed: int) -> Table:
    """
    (premise, entailed hypothesis, contradiction); contradiction goes both ways.

    A premise without one takes a sentence drawn at random, which adds one more in-batch negative and nothing else.
    """
    rng = random.Random(seed)
    against = defaultdict(list)
    for row in rows:
        if row["label"] == CONTRADICTION:
            against[row["premise"]].append(row["hypothesis"])
            against[row["hypothesis"]].append(row["premise"])
    entailed = [row for row in rows if row["label"] == ENTAILMENT]
    alike: dict[str, set[str]] = defaultdict(set)
    for row in entailed:
        alike[row["premise"]] |= {row["premise"], row["hypothesis"]}
    every = sorted({row["hypothesis"] for row in rows})
    anchors, positives = ([row[side] for row in entailed] for side in ("premise", "hypothesis"))
    negatives = [
        rng.choice(against.get(anchor) or [text for text in every if text not in alike[anchor]]) for anchor in anchors
    ]
    return Table({"anchor": anchors, "positive": positives, "negative": negatives})


def _scored(name: str, rows: list[dict[str, str]]) -> Data:
    first, second = ([row[side] for row in rows] for side in ("premise", "hypothesis"))
    return Data(
        name,
        name,
        table=Table(
            {"sentence1": first, "sentence2": second, "score": [float(row["relatedness_score"]) for row in rows]}
        ),
    )


def _normalised(data: Data, normalizer: ArabicNormalizer) -> Data:
    pairs = data.scored
    assert pairs is not None
    return Data(
        data.name,
        data.fingerprint,
        table=Table(
            {
                "sentence1": normalizer(list(pairs["sentence1"])),
                "sentence2": normalizer(list(pairs["sentence2"])),
                "score": pairs["score"],
            }
        ),
    )
