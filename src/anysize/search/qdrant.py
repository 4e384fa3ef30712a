"""
The staged query sent to Qdrant: one named vector a size, stages as nested `prefetch` (MRL, section 4.3).

The same calls run in the client's local mode (``QdrantClient(":memory:")``, for tests and small sets) and against a
sharded cluster (``QdrantClient(url=...)``).
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError, DataError
from anysize.core.sizes.nesting import Nesting
from anysize.evaluation.nearest import directions
from anysize.search.asking.results import Hit, Results, StageReport
from anysize.search.asking.stages import Stage, check_stages, default_stages, shortlist_dims
from anysize.search.intake.given import check_texts, items_of
from anysize.search.intake.items import Batch, Encoder, batches, check_width, embed
from anysize.search.intake.models import nesting_of
from anysize.search.intake.queries import check_queries, scaled

_BATCH = 256
_NAMES = uuid.UUID("a3b9f7c2-5d1e-4c86-9a57-0e6f2b84d913")  # of point ids, which Qdrant wants as UUIDs


class QdrantIndex:
    """
    A Qdrant collection that answers as `Index` does, but for what a server decides.

    Its bytes are None, because a server does not say what it read, and equal scores come in the server's order.
    """

    def __init__(self, client: Any, collection: str, nesting: Nesting, model: Encoder | None, metric: str) -> None:
        self._client, self._collection = client, collection
        self._nesting, self._model, self._metric = nesting, model, metric

    @classmethod
    def build(
        cls,
        client: Any,
        collection: str,
        model: Encoder | None,
        items: Any,
        *,
        ids: Iterable[object] | None = None,
        sizes: Sequence[int] | None = None,
        metric: str = "cosine",
        nesting: Nesting | None = None,
    ) -> QdrantIndex:
        """
        Make a collection that keeps every size in `sizes` as a named vector (default: shortlist size and full one).

        Raises `AnysizeError` if the collection exists or qdrant-client is not installed, and what `Index.build` raises
        for bad items.
        """
        models = _models()
        if metric not in ("cosine", "dot"):
            raise AnysizeError(f"metric {metric!r} is unknown; choose one of cosine, dot")
        if client.collection_exists(collection):
            raise AnysizeError(f"the collection {collection!r} exists; delete it or name another")
        stream = batches(items_of(items), ids, model)
        first = next(stream, None)
        if first is None:
            raise DataError("there is nothing to index: no items were given")
        whole = nesting_of(first.vectors.shape[1], nesting, model)
        full = whole.full.dims
        kept = sorted({whole.resolve(dims=dims).dims for dims in sizes or (shortlist_dims(whole),)} | {full})
        distance = models.Distance.COSINE if metric == "cosine" else models.Distance.DOT
        params = {_name(dims): models.VectorParams(size=dims, distance=distance) for dims in kept}
        client.create_collection(collection, vectors_config=params)
        index = cls(client, collection, Nesting(dims=kept), model, metric)
        index._upsert(first, 0)
        done = len(first.vectors)
        for batch in stream:
            index._upsert(batch, done)
            done += len(batch.vectors)
        return index

    @property
    def nesting(self) -> Nesting:
        """The sizes that are stored, which are those that stages may use."""
        return self._nesting

    def __len__(self) -> int:
        return self._client.count(self._collection, exact=True).count

    def search(self, query: str | np.ndarray, k: int = 10, stages: Sequence[Stage] | str | None = None) -> Results:
        """The `k` best items for a text or a vector (d,), all stages in one request; see `Index.search`."""
        models = _models()
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise AnysizeError(f"k={k!r} hits cannot be found; ask for at least 1")
        begin = time.perf_counter()
        vector, length = self._encode(query)
        encoded = time.perf_counter()
        count = len(self)
        if stages is None:
            plan = default_stages(self._nesting, count, k)
        else:
            given = Stage.parse_all(stages) if isinstance(stages, str) else stages
            plan = check_stages(given, self._nesting, min(k, count))
        prefetch = None
        reports, left = [], count
        for stage in plan[:-1]:
            keep = stage.keep or k
            prefetch = models.Prefetch(
                query=vector[: stage.dims].tolist(), using=_name(stage.dims), limit=keep, prefetch=prefetch
            )
            reports.append(StageReport(stage.dims, left, min(left, keep), None, left * stage.dims, "server"))
            left = min(left, keep)
        last = plan[-1].dims
        answer = self._client.query_points(
            self._collection, query=vector[:last].tolist(), using=_name(last), prefetch=prefetch, limit=k
        )
        hits = tuple(
            Hit(point.payload["id"], point.score * length, point.payload.get("text")) for point in answer.points
        )
        reports.append(StageReport(last, left, len(hits), None, left * last, "server"))
        now = time.perf_counter()
        return Results(hits, 1000 * (now - encoded), None, tuple(reports), 1000 * (encoded - begin))

    def add(self, items: Any, ids: Iterable[object] | None = None) -> None:
        """Append items. Raises `DataError` if an id is taken."""
        done = len(self)
        for batch in batches(items_of(items), ids, self._model):
            self._upsert(batch, done)
            done += len(batch.vectors)

    def delete(self, ids: str | Iterable[str]) -> None:
        """Remove items by id. Nothing is removed if one is unknown: `DataError` names it."""
        wanted = [ids] if isinstance(ids, str) else [str(name) for name in ids]
        known = self._known(wanted)
        unknown = next((name for name in wanted if _point(name) not in known), None)
        if unknown is not None:
            raise DataError(f"no item has the id {unknown!r}; nothing was deleted")
        self._client.delete(self._collection, points_selector=[_point(name) for name in wanted])

    def _upsert(self, batch: Batch, start: int) -> None:
        models = _models()
        check_width(batch.vectors, self._nesting.full.dims, "vectors")
        rows = directions(batch.vectors) if self._metric == "cosine" else batch.vectors
        ids = batch.ids or [str(number) for number in range(start, start + len(batch.vectors))]
        known, counts = self._known(ids), Counter(ids)
        taken = next((name for name in ids if _point(name) in known or counts[name] > 1), None)
        if taken is not None:
            raise DataError(f"id {taken!r} is given twice or already in the collection; make ids unique")
        for low in range(0, len(ids), _BATCH):
            points = [
                models.PointStruct(
                    id=_point(ids[row]),
                    vector={_name(dims): rows[row, :dims].tolist() for dims in self._nesting.values("dims")},
                    payload={"id": ids[row]} | ({"text": batch.texts[row]} if batch.texts else {}),
                )
                for row in range(low, min(len(ids), low + _BATCH))
            ]
            self._client.upsert(self._collection, points=points, wait=True)

    def _known(self, ids: Sequence[str]) -> set[str]:
        points = self._client.retrieve(self._collection, ids=[_point(name) for name in ids], with_payload=False)
        return {str(point.id) for point in points}

    def _encode(self, query: str | np.ndarray) -> tuple[np.ndarray, float]:
        """A query at length 1, so that a server can score it in float32, and what its scores are multiplied with."""
        if isinstance(query, str):
            if self._model is None:
                raise DataError("this collection was built from vectors; search it with a vector, not a text")
            query = embed(self._model, check_texts([query], "query"), "query")
        rows = check_queries(np.atleast_2d(np.asarray(query)), self._nesting.full.dims, self._metric)
        found, lengths = scaled(rows, self._metric)
        return found[0], float(lengths[0])


def _name(dims: int) -> str:
    return f"dims-{dims}"


def _point(name: str) -> str:
    return str(uuid.uuid5(_NAMES, name))


def _models() -> Any:
    try:
        from qdrant_client import models
    except ImportError as error:
        raise AnysizeError(
            "this back end needs qdrant-client; install it with: pip install 'anysize[qdrant]'"
        ) from error
    return models
