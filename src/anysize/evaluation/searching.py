"""Search among documents, by whatever a model compares them with: vectors, or a form of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from anysize.core.frontier.timing import Scan
from anysize.core.model.faces import Searches
from anysize.evaluation.nearest import rank, rank_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anysize.core.data.records import Items
    from anysize.core.model.faces import Corpus, Embeds, Scorer


class Search(Protocol):
    """Queries and documents as one view sees them."""

    metrics: Mapping[str, float]
    """What is known of their form besides."""
    costs: Mapping[str, int]
    """Of an item, where the documents decide them."""

    def nearest(self, k: int) -> np.ndarray:
        """The places of the k nearest documents of each query, (q, k), nearest first."""

    def one(self) -> Callable[[], object] | Scan:
        """A single query for ten documents, to be timed."""


class ByVectors:
    """By the inner products of vectors; `features` are those of the documents and of the queries."""

    metrics: Mapping[str, float] = {}
    costs: Mapping[str, int] = {}

    def __init__(self, view: Embeds, documents: np.ndarray, queries: np.ndarray, asked: Items) -> None:
        self.view, self.documents, self.queries, self.asked = view, documents, queries, asked

    def nearest(self, k: int) -> np.ndarray:
        """Every document is scored."""
        corpus, queries = self.view.project(self.documents), self.view.project(self.queries)
        return rank(queries, corpus, k=min(k, len(corpus)))[0]

    def one(self) -> Scan:
        """
        Its projection and the scan of all documents.

        Encoding the query's text is part of it where the size decides how long that takes; elsewhere it comes on top.
        """
        width = self.view.project(np.asarray(self.documents[:1])).shape[1]
        return Scan(len(self.documents), width, self._over)

    def _over(self, rows: int) -> Callable[[], object]:
        import torch

        view = self.view
        corpus = torch.from_numpy(np.ascontiguousarray(view.project(self.documents[:rows])))
        k, first = min(10, len(corpus)), np.asarray(self.queries[:1])
        texts = sorted(self.asked.texts, key=len) if view.times_encoding and self.asked.texts else []

        def answer() -> object:
            query = view.encode([texts[len(texts) // 2]], side="query") if texts else view.project(first)
            return torch.topk(corpus @ torch.from_numpy(query[0]), k)

        return answer


class ByScores:
    """In a form of the view's own; the time is that of one query from its vector on."""

    def __init__(self, scorer: Scorer, count: int, queries: np.ndarray) -> None:
        self.scorer, self.count, self.queries = scorer, count, queries
        self.metrics: Mapping[str, float] = scorer.metrics
        self.costs: Mapping[str, int] = {"bytes": scorer.bytes, "parameters": scorer.parameters, "flops": scorer.flops}

    def nearest(self, k: int) -> np.ndarray:
        """Every document is scored."""
        return _nearest(self.scorer, self.queries, self.count, k)

    def one(self) -> Callable[[], object]:
        """Bringing the query into that form, scoring all documents, choosing ten."""
        return partial(_nearest, self.scorer, self.queries[:1], self.count, 10)


def _nearest(scorer: Scorer, queries: np.ndarray, documents: int, k: int) -> np.ndarray:
    return rank_by(lambda rows: scorer.scores(queries[rows]), len(queries), documents, min(k, documents))[0]


def search(view: Any, corpus: Corpus, queries: np.ndarray, asked: Items) -> Search:
    """The search that a view offers, among features of documents and those of the queries that `asked` holds."""
    if isinstance(view, Searches):
        return ByScores(view.scorer(corpus), len(corpus.rows), queries)
    return ByVectors(view, corpus.rows, queries, asked)
