"""A server in a thread of this process, on a free port of the loopback address, and who asks it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from anysize.core.model.contract import NestedModel
from anysize.serve.held.house import House
from anysize.serve.life import Server, bound
from tests.kinds import models


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    def refused(self, status: int, code: str, *words: str, param: str | None = None) -> None:
        """An error in OpenAI's shape that holds these words."""
        assert self.status == status, self
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert int(self.headers["content-length"]) == len(self.content)
        assert error["code"] == code, error
        assert param is None or error["param"] == param, error
        for word in words:
            assert word in error["message"], error


@dataclass
class Client:
    """Asks one server."""

    port: int
    house: House
    server: Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            kind = {"content-type": "application/json"} if content is not None else {}
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, content, {**kind, **named})
            found = connection.getresponse()
            return Answer(found.status, {key.lower(): value for key, value in found.headers.items()}, found.read())
        finally:
            connection.close()


@contextmanager
def running(house: House) -> Iterator[Client]:
    """A server of this house, ready."""
    with bound("127.0.0.1", 0) as listening:
        server = Server(house)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not house.ready:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield Client(listening.getsockname()[1], house, server)
        finally:
            server.should_exit = True
            thread.join(30)
            house.close(10)


@pytest.fixture(scope="session")
def kinds(encoder_path, lm_path) -> Any:
    """Kind -> a tiny model of it, made once."""
    made: dict[str, NestedModel] = {}

    def of(kind: str) -> NestedModel:
        if kind not in made:
            made[kind] = models(encoder_path, lm_path)[kind][0]()
        return made[kind]

    return of
