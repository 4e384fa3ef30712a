"""The ASGI app: routes for what the loaded things can do, and nothing of any family."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from anysize.core.version import __version__
from anysize.serve.answers import chat, embeddings, page, running, searching, transcribing
from anysize.serve.gate import Gate
from anysize.serve.held.errors import Refused
from anysize.serve.held.house import House
from anysize.serve.held.wire import Field, answers, described

Answering = Callable[[House, Request, float], Awaitable[Response]]


def build(house: House) -> FastAPI:
    """The app of a house; when it starts, it warms the models up, and is ready after that."""

    @contextlib.asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(house.warm())]
        tasks += [asyncio.create_task(indexed.watch()) for indexed in house.indexes.values()]
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(
        title="anysize", version=__version__, docs_url=None, redoc_url=None, lifespan=life,
        summary="Saved models at every size that they were trained for.",
    )  # fmt: skip
    app.add_middleware(Gate, house=house)
    if house.settings.cors:
        from starlette.middleware.cors import CORSMiddleware

        origins = list(house.settings.cors)
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    _errors(app)
    routes = Routes(app, house)
    routes.get("/", page.page, "A page to see what a smaller size costs.")
    routes.get("/healthz", _healthz, "It runs.")
    routes.get("/readyz", _readyz, "It takes requests.")
    routes.get("/metrics", _metrics, "What Prometheus reads.")
    routes.get("/v1/models", _models, "All models, with their sizes.")
    routes.get("/v1/models/{name:path}", _model, "One model, with its sizes.")
    if any(served.embeds for served in house.models.values()):
        fields = [*embeddings.FIELDS, *_axes(house)]
        routes.post("/v1/embeddings", embeddings.embeddings, fields, "A vector for each text, in OpenAI's shape.")
        routes.post("/embeddings", embeddings.embeddings, None, "")
    if any("text" in served.model.reads for served in house.models.values()):
        routes.post("/tokenize", embeddings.tokenize, embeddings.TOKENIZE, "How many tokens each text has.")
    routes.post("/run", running.run, running.FIELDS, "What a model of any kind gives for each item, as `anysize run`.")
    writing = [served for served in house.models.values() if served.writes]
    if any({"text", "parts"} & set(served.model.reads) for served in writing):
        routes.post("/v1/chat/completions", chat.chat, chat.FIELDS, "An answer to messages, in OpenAI's shape.")
    if any("audio" in served.model.reads for served in writing):
        form = "multipart/form-data"
        routes.post(
            "/v1/audio/transcriptions", transcribing.transcribe, transcribing.FIELDS, "What is said in a sound.", form
        )
    if house.indexes:
        routes.get("/indexes", searching.indexes, "All indexes, with their sizes.")
        routes.post("/search", searching.search, searching.FIELDS, "The nearest items, as `anysize search` finds them.")
        routes.post("/indexes/{name}/refresh", searching.refresh, (), "Take an index's newest generation now.")
    return app


class Routes:
    """Puts routes into an app, each answered for a house."""

    def __init__(self, app: FastAPI, house: House) -> None:
        self._app, self._house = app, house

    def get(self, path: str, answer: Answering, said: str) -> None:
        """A route that reads."""
        self._add(path, answer, "GET", {"responses": answers(said)}, said)

    def post(self, path: str, answer: Answering, fields: Any, said: str, media: str = "application/json") -> None:
        """A route whose body has these fields; without any it is not described (another name of a route that is)."""
        self._add(path, answer, "POST", None if fields is None else described(fields, said, media=media), said)

    def _add(self, path: str, answer: Answering, method: str, extra: dict[str, Any] | None, said: str) -> None:
        house = self._house

        async def answered(request: Request) -> Response:
            return await answer(house, request, request.state.arrived)

        self._app.add_api_route(
            path, answered, methods=[method], openapi_extra=extra, include_in_schema=extra is not None,
            name=answer.__name__.strip("_"), summary=said, response_class=Response,
        )  # fmt: skip


def _axes(house: House) -> list[Field]:
    """A field for each axis of any model that gives vectors."""
    axes = {axis: None for served in house.models.values() if served.embeds for axis in served.model.nesting.axes}
    return [Field(axis, ("integer", "string"), f"a value of the axis {axis}") for axis in axes]


def _errors(app: FastAPI) -> None:
    """Errors of the framework leave as ours do: through the gate."""

    async def passed_on(_request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            code = "not_found" if error.status_code == 404 else "method_not_allowed"
            said = "there is nothing under this path" if error.status_code == 404 else "this path is asked otherwise"
            headers = {name: value for name, value in (error.headers or {}).items()}
            raise Refused(error.status_code, code, f"{said}; /openapi.json lists all that there is", None, headers)
        raise error

    app.add_exception_handler(HTTPException, passed_on)
    app.add_exception_handler(RequestValidationError, passed_on)


def json_answer(content: Any, status: int = 200) -> Response:
    """Plain values, and arrays, as JSON."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


async def _healthz(house: House, request: Request, arrived: float) -> Response:
    if not house.alive():
        raise Refused(503, "engine_failed", "a model's thread has not answered for long")
    return json_answer({"status": "ok"})


async def _readyz(house: House, request: Request, arrived: float) -> Response:
    trouble = house.trouble()
    if trouble:
        raise Refused(503, trouble.partition(":")[0], f"not ready: {trouble}", headers={"Retry-After": "5"})
    return json_answer({"status": "ready"})


async def _metrics(house: House, request: Request, arrived: float) -> Response:
    for name, served in house.models.items():
        house.metrics.waiting.labels(name).set(served.queue.waiting)
    return Response(house.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _models(house: House, request: Request, arrived: float) -> Response:
    return json_answer({"object": "list", "data": [served.about() for served in house.models.values()]})


async def _model(house: House, request: Request, arrived: float) -> Response:
    return json_answer(house.model(request.path_params["name"]).about())
