"""
Whether what is measured was learnt from, by a small sample of hashes that a model keeps of its training data.

The sample are the k smallest 64-bit hashes of what training asked with (a bottom-k sketch; Cohen and Kaplan 2007):
for every hash below the largest of them it is known whether it was there. So overlap is found exactly for small data,
and in proportion for large; texts are compared as they are, white space around them apart.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from anysize.core.data.data import Data
from anysize.core.data.files.vectors import row_hashes
from anysize.core.data.held_out import key_of, stable_hash
from anysize.core.data.records import Items
from anysize.core.errors import DataError

KEPT = 512
_ROWS = 1 << 16


def sketch(data: Data) -> dict[str, Any]:
    """
    The sample as JSON: ``kept`` (base64 of sorted little-endian uint64) and ``distinct``, how many there were.

    Of pairs, scored pairs and judgements the queries (anchors, first texts) that training sees, else every item.
    """
    hashes = np.unique(_learnt(data))
    return {"kept": base64.b64encode(hashes[:KEPT].astype("<u8").tobytes()).decode(), "distinct": len(hashes)}


def overlap_notes(learnt: Iterable[Mapping[str, Any]], data: Data, *, held_out: bool) -> tuple[str, ...]:
    """
    A note if some of what is measured is among what was learnt; none if what was learnt is held out, or not known.

    `learnt` is what a model says of its training data: name, and perhaps the sketch.
    """
    if held_out:
        return ()
    asked, what = _asked(data)
    hashes, notes = np.unique(asked), []
    for one in learnt:
        kept, whole = _kept(one.get("sketch"))
        if not len(kept):
            continue
        known = hashes if whole else hashes[hashes <= kept[-1]]
        hits = int(np.isin(known, kept).sum())
        if hits:
            share = f"{hits} of {len(known)}" if whole else f"about {100 * hits / len(known):.0f} % of the"
            how = "" if whole else f" (by a sample: {hits} of {len(known)})"
            notes.append(
                f"{share} {what} measured are among those that the model learnt from, of {one.get('name')}{how}: the "
                "figures flatter it"
            )
    return tuple(notes)


def _kept(found: Any) -> tuple[np.ndarray, bool]:
    """The hashes of a sketch, sorted, and whether they are all there were; none of what is no sketch."""
    try:
        kept = np.frombuffer(base64.b64decode(found["kept"], validate=True), "<u8")
        return kept, len(kept) == int(found["distinct"])
    except (TypeError, KeyError, ValueError):
        return np.zeros(0, np.uint64), False


def _learnt(data: Data) -> np.ndarray:
    if data.scored is not None:
        scored = data.training_scored()
        return _of_texts(scored["sentence1"] if scored else [])
    pairs = data.training_pairs()
    return _items_of(data) if pairs is None else _of_texts(map(key_of, pairs["anchor"]))


def _asked(data: Data) -> tuple[np.ndarray, str]:
    if data.scored is not None:
        return _of_texts(data.scored["sentence1"]), "scored pairs"
    if data.is_judged:
        return _of_items(data.judged().queries), "queries"
    return _items_of(data), "items"


def _items_of(data: Data) -> np.ndarray:
    try:
        return _of_items(data.items())
    except DataError:  # nothing to embed, which a method of its own may be content with
        return np.zeros(0, np.uint64)


def _of_items(items: Items) -> np.ndarray:
    if items.texts is not None:
        return _of_texts(items.texts)
    if items.vectors is None:
        return _of_texts(map(key_of, items.rows))
    vectors: Any = items.vectors
    found = [row_hashes(vectors[start : start + _ROWS]) for start in range(0, len(vectors), _ROWS)]
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def _of_texts(texts: Iterable[str]) -> np.ndarray:
    return np.array([stable_hash(text.strip()) for text in set(texts) if text.strip()], np.uint64)
