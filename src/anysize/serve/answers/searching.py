"""``/search`` and ``/indexes``: what ``anysize search`` finds, for one query or up to 128."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from anysize.core.errors import AnysizeError
from anysize.search import Stage
from anysize.serve.answers.embeddings import parts_of, vectors_of
from anysize.serve.held.errors import Refused
from anysize.serve.held.given import texts_of
from anysize.serve.held.house import House
from anysize.serve.held.indexed import Asked
from anysize.serve.held.limits import json_of
from anysize.serve.held.wire import Field, checked

MOST = 128
"""Queries of one request."""
FIELDS = (
    Field("index", ("string",), "the name of a served index, as /indexes lists them"),
    Field("query", ("string", "array"), "a text, or a list of parts"),
    Field("queries", ("array",), f"several of them, up to {MOST}", items={"type": ["string", "array"]}),
    Field("vector", ("array",), "a vector in place of a text", items={"type": "number"}),
    Field("vectors", ("array",), "several vectors", items={"type": "array"}),
    Field("k", ("integer",), "how many hits", least=1, most=1000),
    Field("stages", ("string", "array"), "as typed, dims=64:200,dims=384, or as [{dims, keep}]"),
    Field("size", ("string",), "the size to embed the query at, where sizes of the model compare"),
    Field("approximate", ("string",), "shortlist by the graph", choices=("hnsw",)),
    Field("with_text", ("boolean",), "whether hits come with their texts (they do)"),
)


async def search(house: House, request: Request, arrived: float) -> Response:
    """The nearest items."""
    asked = checked(FIELDS, await json_of(request, house.settings.max_body), lenient=house.settings.lenient)
    indexed = house.index(asked.get("index"))
    named = [name for name in ("query", "queries", "vector", "vectors") if name in asked]
    if len(named) != 1:
        raise Refused(400, "missing", "give one of query, queries, vector or vectors", "query")
    queries, width = _queries(asked[named[0]], named[0])
    how = Asked(
        asked.get("k", 10), _stages(asked.get("stages")), asked.get("approximate"), asked.get("size"), width
    )  # fmt: skip
    found = await indexed.search(queries, how, arrived)
    answers = [{**results.to_json(), "index": indexed.name, "generation": now} for results, now in found]
    if asked.get("with_text") is False:
        for answer in answers:
            answer["hits"] = [{"id": hit["id"], "score": hit["score"]} for hit in answer["hits"]]
    request.state.told = {"index": indexed.name, "queries": len(queries)}
    single = named[0] in ("query", "vector")
    content = answers[0] if single else {"object": "list", "data": answers}
    return Response(orjson.dumps(content), media_type="application/json")


async def indexes(house: House, request: Request, arrived: float) -> Response:
    """All indexes."""
    content = {"object": "list", "data": [indexed.about() for indexed in house.indexes.values()]}
    return Response(orjson.dumps(content), media_type="application/json")


async def refresh(house: House, request: Request, arrived: float) -> Response:
    """Take an index's newest generation now."""
    indexed = house.index(request.path_params["name"])
    changed = await asyncio.to_thread(indexed.refresh)
    content = {"index": indexed.name, "generation": indexed.index.manifest.generation, "changed": changed}
    return Response(orjson.dumps(content), media_type="application/json")


def _queries(given: Any, name: str) -> tuple[list[Any], int]:
    """What to look for, and how wide it is if these are vectors."""
    many = given if name in ("queries", "vectors") else [given]
    if len(many) > MOST:
        raise Refused(413, "too_many_texts", f"{name} holds {len(many)}; at most {MOST} at once", name)
    if name in ("vector", "vectors"):
        if not many or not all(isinstance(row, list) and row for row in many):
            raise Refused(400, "bad_vector", f"{name} holds what is no vector of numbers", name)
        rows = [np.asarray(row, np.float64) for row in vectors_of(many)]
        return rows, len(rows[0])
    if any(isinstance(one, list) for one in many):
        return [parts_of(one) for one in many], 0
    return texts_of(many, name), 0


def _stages(given: Any) -> Any:
    """Stages as the library has them. Raises `Refused` with its sentence."""
    if given is None:
        return None
    try:
        if isinstance(given, str):
            return Stage.parse_all(given)
        known = {"dims", "keep", "active"}
        if not all(isinstance(one, str) or (isinstance(one, dict) and one.keys() <= known) for one in given):
            raise Refused(400, "bad_stages", "a stage is a text like dims=64:200, or {dims, keep}", "stages")
        return tuple(Stage.parse(one) if isinstance(one, str) else Stage(**one) for one in given)
    except (AnysizeError, TypeError) as error:
        raise Refused(400, "bad_stages", str(error), "stages") from None
