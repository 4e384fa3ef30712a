"""Search among documents, by whatever a model compares them with: vectors, or a form of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from anysize.core.frontier.timing import Scan
from anysize.core.model.faces import Remembers, Searches
from anysize.evaluation.nearest import rank, rank_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anysize.core.data.records import Items
    from anysize.core.model.cost import Cost
    from anysize.core.model.faces import Embeds, Scorer
    from anysize.core.sides import Side
    from anysize.core.sizes.size import Size
    from anysize.evaluation.once import FeaturesOnce


class Search(Protocol):
    """Queries and documents as one view sees them."""

    metrics: Mapping[str, float]
    """What is known of their form besides."""
    costs: Mapping[str, Any]
    """Of an item, where the documents decide them."""

    def nearest(self, k: int) -> np.ndarray:
        """The places of the k nearest documents of each query, (q, k), nearest first."""

    def one(self) -> Callable[[], object] | Scan:
        """A single query for ten documents, to be timed."""


class ByVectors:
    """By the inner products of vectors; `features` are those of the documents and of the queries."""

    metrics: Mapping[str, float] = {}
    costs: Mapping[str, Any] = {}

    def __init__(
        self,
        view: Embeds,
        documents: np.ndarray,
        queries: np.ndarray,
        asked: Items,
        *,
        asks: Embeds | None = None,
        side: Side = "query",
    ) -> None:
        self.view, self.documents, self.queries, self.asked = view, documents, queries, asked
        self.asks = view if asks is None else asks
        """Embeds the queries."""
        self.side = side

    def nearest(self, k: int) -> np.ndarray:
        """Every document is scored."""
        corpus, queries = self.view.project(self.documents), self.asks.project(self.queries)
        return rank(queries, corpus, k=min(k, len(corpus)))[0]

    def one(self) -> Scan:
        """
        Its projection and the scan of all documents.

        Encoding the query's text is part of it where the size decides how long that takes; elsewhere it comes on top,
        and is timed apart.
        """
        width, text = self.view.project(np.asarray(self.documents[:1])).shape[1], self._text()
        scan = Scan(len(self.documents), width, self._over)
        if text is None or self.asks.times_encoding:
            return scan
        encoder = self.asks.encoder  # not through `encode`, which may know the text already
        read = encoder.embed if isinstance(encoder, Remembers) else self.asks.features
        encode = partial(read, [text], side=self.side)
        return replace(scan, encode=encode, encoder=self.asks.origin)

    def _over(self, rows: int) -> Callable[[], object]:
        import torch

        view = self.asks
        corpus = torch.from_numpy(np.ascontiguousarray(self.view.project(self.documents[:rows])))
        k, first = min(10, len(corpus)), np.asarray(self.queries[:1])
        text = self._text() if view.times_encoding else None

        def answer() -> object:
            query = view.project(first) if text is None else view.encode([text], side=self.side)
            return torch.topk(corpus @ torch.from_numpy(query[0]), k)

        return answer

    def _text(self) -> Any:
        """A query of middling length, a text or a list of parts; None where queries are vectors."""
        if self.asked.of == "vector":
            return None
        given = sorted(self.asked.rows, key=len) if self.asked.of in ("text", "parts") else list(self.asked.rows)
        return given[len(given) // 2] if given else None


class ByScores:
    """In a form of the view's own; the time is that of one query from its vector on."""

    def __init__(self, scorer: Scorer, count: int, queries: np.ndarray) -> None:
        self.scorer, self.count, self.queries = scorer, count, queries
        self.metrics: Mapping[str, float] = scorer.metrics
        self.costs: Mapping[str, Any] = {"bytes": scorer.bytes, "parameters": scorer.parameters, "flops": scorer.flops}

    def nearest(self, k: int) -> np.ndarray:
        """Every document is scored."""
        return _nearest(self.scorer, self.queries, self.count, k)

    def one(self) -> Callable[[], object]:
        """Bringing the query into that form, scoring all documents, choosing ten."""
        return partial(_nearest, self.scorer, self.queries[:1], self.count, 10)


def _nearest(scorer: Scorer, queries: np.ndarray, documents: int, k: int) -> np.ndarray:
    return rank_by(lambda rows: scorer.scores(queries[rows]), len(queries), documents, min(k, documents))[0]


@dataclass(frozen=True)
class Mixed:
    """Documents embedded at one size, and queries at another."""

    documents: Embeds
    queries: Embeds

    @property
    def size(self) -> Size:
        """That of the documents, which are what is stored."""
        return self.documents.size

    def cost(self) -> Cost:
        """That of the documents."""
        return self.documents.cost()


def search(view: Any, features: FeaturesOnce, asked: Items) -> Search:
    """The search that a view offers, among features of documents and of the queries that `asked` holds."""
    if isinstance(view, Searches):
        corpus = features.corpus(view)
        return ByScores(view.scorer(corpus), len(corpus.rows), features.of(view)[1])
    stored, asks = (view.documents, view.queries) if isinstance(view, Mixed) else (view, view)
    return ByVectors(stored, features.of(stored)[0], features.of(asks)[1], asked, asks=asks)
