"""Character n-grams of short texts, hashed: bags for an encoder and weighted vectors for a tf-idf term."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anysize.coding.records.documents import normalised
from anysize.core.errors import AnysizeError


class Ngrams:
    """
    Counts of the character n-grams of words, hashed to `buckets`, as log counts times `idf`, of unit length.

    Where `idf` is None every bucket weighs 1. Rows are `scipy` CSR matrices (n, buckets), float32.
    """

    def __init__(self, low: int, high: int, buckets: int, idf: np.ndarray | None = None) -> None:
        try:
            from sklearn.feature_extraction.text import HashingVectorizer
        except ImportError:
            raise AnysizeError('linking needs scikit-learn; pip install "anysize[coding]"') from None
        self.buckets, self.idf = buckets, idf
        self._hashing = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(low, high),
            n_features=buckets,
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
            lowercase=False,
        )

    def learn(self, texts: Sequence[str]) -> Ngrams:
        """Take the weights of the buckets from texts: ln((1 + n) / (1 + texts that have it)) + 1. Gives itself."""
        counts = self._counts(texts)
        having = np.bincount(counts.indices, minlength=self.buckets)
        self.idf = (np.log((1 + len(texts)) / (1 + having)) + 1).astype(np.float32)
        return self

    def rows(self, texts: Sequence[str]) -> Any:
        """The vectors of texts, which are normalised first."""
        rows = self._counts(texts)
        rows.data = 1 + np.log(rows.data)
        if self.idf is not None:
            rows.data *= self.idf[rows.indices]
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
        rows.data /= np.repeat(np.where(lengths > 0, lengths, 1), np.diff(rows.indptr)).astype(np.float32)
        return rows

    def _counts(self, texts: Sequence[str]) -> Any:
        return self._hashing.transform([normalised(text) for text in texts]).tocsr()


def cosines(rows: Any, some: np.ndarray, row: Any) -> np.ndarray:
    """
    Products of `some` of the unit CSR `rows` (n, buckets) with one more `row` (1, buckets): (len(some),) float32.

    A few rows at a time, scipy's product of matrices spends most of its time on looking after them.
    """
    spread = np.zeros(rows.shape[1], np.float32)
    spread[row.indices] = row.data
    lengths = rows.indptr[some + 1] - rows.indptr[some]
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(rows.indptr[some] - ends + lengths, lengths)
    sums = np.concatenate([[0.0], np.cumsum(rows.data[places] * spread[rows.indices[places]], dtype=np.float64)])
    found: np.ndarray = (sums[ends] - sums[ends - lengths]).astype(np.float32)
    return found
