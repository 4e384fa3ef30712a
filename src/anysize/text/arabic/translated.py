"""
Cleaning machine-translated pairs and triplets, as NLI sets for other languages are made from English ones.

Translation can make two different sentences one, so that a positive is its anchor or a negative is the positive; leave
a sentence in its old language; or repeat rows (Nacar and Koubaa 2024, arXiv 2407.21139, use such data unfiltered).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from anysize.core.data.records import Table
from anysize.core.errors import DataError
from anysize.text.arabic.normalizer import ArabicNormalizer

_LATIN = re.compile(r"[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]")
REASONS = ("too short", "not translated", "equal texts", "repeated")


class Filtered(NamedTuple):
    """What is left, and how many rows were dropped for which reason."""

    rows: Table
    dropped: dict[str, int]
    """Reason -> rows; a row counts once, under the first of `REASONS` that holds."""


def filter_translated_triplets(
    rows: Table,
    *,
    min_len: int = 3,
    max_latin_ratio: float = 0.3,
    drop_equal: bool = True,
    drop_repeated: bool = True,
    normalizer: Callable[[str], str] | None = None,
) -> Filtered:
    """
    Drop pairs or triplets that translation spoilt; the texts that are kept stay as they were.

    A row goes if a text has fewer than `min_len` characters, if more than `max_latin_ratio` of a text's letters are
    Latin, if any two of its texts are equal, or if the row came before. Texts are compared after `normalizer`
    (default: `ArabicNormalizer`) and with white space made one.
    Raises `DataError` if the ratio is not between 0 and 1, or if no row is left.
    """
    if not 0 <= max_latin_ratio <= 1:
        raise DataError(f"max_latin_ratio is a share of letters; expected 0 to 1, got {max_latin_ratio}")
    normalize = normalizer or ArabicNormalizer()
    columns = list(rows.columns.values())
    known = {text: " ".join(normalize(text).split()) for column in columns for text in column}
    seen: set[tuple[str, ...]] = set()
    kept, dropped = [], dict.fromkeys(REASONS, 0)
    for row in range(len(rows)):
        texts = tuple(known[column[row]] for column in columns)
        if min(map(len, texts)) < min_len:
            dropped["too short"] += 1
        elif max(map(latin_ratio, texts)) > max_latin_ratio:
            dropped["not translated"] += 1
        elif drop_equal and len(set(texts)) < len(texts):
            dropped["equal texts"] += 1
        elif drop_repeated and texts in seen:
            dropped["repeated"] += 1
        else:
            seen.add(texts)
            kept.append(row)
    if not kept:
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise DataError(f"none of {len(rows)} rows is left ({counts}); set looser limits")
    return Filtered(rows.take(kept), dropped)


def latin_ratio(text: str) -> float:
    """The share of a text's letters that are Latin; 0 if it has no letters."""
    letters = sum(character.isalpha() for character in text)
    return len(_LATIN.findall(text)) / letters if letters else 0.0
