"""What every request passes: its id, the key, the headers of the answer, one line in the log; as plain ASGI."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anysize.serve.held.errors import Refused, draining, refused
from anysize.serve.held.house import House
from anysize.serve.held.settings import MAX_CONCURRENT

LOG = logging.getLogger("anysize.serve")
OPEN = ("/", "/healthz", "/readyz")
"""Paths that need no key: the page holds nothing, and asks for it."""
_ID = re.compile(r"[\w.:-]{1,128}")
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Gate:
    """Around the app; errors of any kind leave it as an answer in OpenAI's shape."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self.app, self.house = app, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, house = time.monotonic(), self.house
        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        known = given.get("x-request-id", "")
        name = known if _ID.fullmatch(known) else uuid.uuid4().hex
        told: dict[str, Any] = {}
        scope.setdefault("state", {})
        scope["state"] |= {"told": told, "arrived": begin, "id": name, "watch": None, "gone": False, "done": False}
        status = 0

        async def out(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {key.lower() for key, _ in message["headers"]}
                more = [(key.lower().encode(), value.encode()) for key, value in {**SAFE, "x-request-id": name}.items()]
                message["headers"] = [*message["headers"], *(one for one in more if one[0] not in there)]
            scope["state"]["done"] |= message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        house.in_flight += 1
        try:
            self._check(scope, given, told)
            await self.app(scope, receive, out)
        except asyncio.CancelledError:
            if not scope["state"]["gone"]:  # the server ends, and this was not done in time
                house.cut_off += 1
                if status:
                    raise
                await self.answer(draining(), scope, out)
        except ClientDisconnect:
            pass  # it left before all of its body had come: nobody waits for an answer
        except Exception as error:
            if status:
                raise  # it had begun to answer
            await self.answer(error, scope, out)
        finally:
            if scope["state"]["watch"] is not None:
                scope["state"]["watch"].cancel()
            house.in_flight -= 1
            house.answered += 1
            told = {**told, **(scope["state"].get("told") or {})}
            self._log(scope, name, status, time.monotonic() - begin, told)

    def _check(self, scope: Scope, given: dict[str, str], told: dict[str, Any]) -> None:
        path = scope["path"]
        free = path in OPEN or (path == "/metrics" and self.house.settings.metrics_open)
        if self.house.keys.guard and not free and scope["method"] != "OPTIONS":
            told["key"] = self.house.keys.check(given.get("authorization", ""))
        if self.house.draining and scope["method"] != "GET":
            raise draining()
        if self.house.in_flight > MAX_CONCURRENT:
            raise Refused(429, "queue_full", "too many requests at once; try again", headers={"Retry-After": "1"})

    async def answer(self, error: BaseException, scope: Scope, send: Send) -> None:
        """An error as an answer; what is no fault of the request goes to the log whole."""
        found = refused(error, scope["state"]["id"])
        if found.status >= 500 and not isinstance(error, Refused):
            LOG.error("request %s failed", scope["state"]["id"], exc_info=error)
        if found.status in (401, 413, 429, 503, 504):
            self.house.metrics.rejected.labels(found.code).inc()
        body = found.body()
        body["error"]["message"] = self.house.without_paths(found.message)
        written = orjson.dumps(body)
        headers = {"content-type": "application/json", "content-length": str(len(written)), **found.headers}
        await send({
            "type": "http.response.start", "status": found.status,
            "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
        })  # fmt: skip
        await send({"type": "http.response.body", "body": written})

    def _log(self, scope: Scope, name: str, status: int, seconds: float, told: dict[str, Any]) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        self.house.metrics.requests.labels(route, str(status or 499), str(told.get("size", ""))).inc()
        self.house.metrics.seconds.labels(route).observe(seconds)
        line = {"id": name, "route": route, "method": scope["method"], "status": status or 499}
        LOG.info("%s", json.dumps({**line, "ms": round(1000 * seconds, 2), **told}))
