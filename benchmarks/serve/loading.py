"""What measures a server from outside: servers as processes, and clients that keep their connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

BASE = "all-MiniLM-L6-v2"
LAYERS, DIMS = (2, 4, 6), (64, 384)
PATH = "/v1/embeddings"


@dataclass(frozen=True)
class Asked:
    """One request: where to, and with what body."""

    port: int
    body: dict[str, Any]
    path: str = PATH

    @property
    def texts(self) -> int:
        """How many it holds."""
        return len(self.body.get("input", ()))


@dataclass
class Load:
    """What a load met with."""

    seconds: float = 0.0
    texts: int = 0
    """Of requests that were answered."""
    took: list[float] = field(default_factory=list)
    """Milliseconds of each of these."""
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Texts a second."""
        return self.texts / self.seconds

    def at(self, percent: float) -> float:
        """A percentile of the milliseconds."""
        return float(np.percentile(self.took, percent))


def model(folder: Path) -> Path:
    """MiniLM at all sizes, saved."""
    from anysize.text import NestedEncoder

    NestedEncoder.from_pretrained(BASE, layers=LAYERS, dims=DIMS).save(folder / "mine")
    return folder / "mine"


def texts_of(count: int) -> list[str]:
    """Beginnings of documentation strings, of 3 to 48 words, as many short as long by their logarithm."""
    from anysize.text.docstrings import collect

    rng, found = random.Random(0), []
    for item in collect(count):
        words = math.exp(rng.uniform(math.log(3), math.log(48)))
        found.append(" ".join(f"{item.summary} {item.description}".split()[: round(words)]))
    return found


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@contextlib.contextmanager
def process(command: Sequence[str], port: int, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a process of its own, once it answers at the path `ready`."""
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 300
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if asyncio.run(_status(port, ready)) == 200:
                    break
            if started.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command)} did not start")
            time.sleep(0.1)
        yield started
    finally:
        started.terminate()
        try:
            started.wait(40)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def serving(*words: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """``anysize serve`` with these words, on one thread; its port."""
    port = free_port()
    command = [sys.executable, "-m", "anysize", "serve", *words, "--port", str(port), "--threads", "1"]
    with process([*command, "--drain-notice", "0"], port, "/readyz") as started:
        yield port, started


def ask_all(requests: Sequence[Asked], clients: int) -> Load:
    """All requests, of so many clients at once; each that is refused is counted and not asked again."""
    return asyncio.run(_ask_all(requests, clients))


async def _ask_all(requests: Sequence[Asked], clients: int) -> Load:
    found, waiting = Load(), iter(requests)
    begin = time.perf_counter()

    async def one() -> None:
        async with Client() as client:
            for asked in waiting:
                await client.count(asked, found)

    await asyncio.gather(*(one() for _ in range(clients)))
    found.seconds = time.perf_counter() - begin
    return found


class Client:
    """One client, with a connection to each server that it asks."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        for port in list(self._open):
            self._close(port)

    def _close(self, port: int) -> None:
        _, writer = self._open.pop(port)
        writer.close()

    async def count(self, asked: Asked, found: Load) -> Any:
        """Ask, and add what came to a load; the answer as JSON."""
        begin = time.perf_counter()
        status, answer = await self.ask(asked)
        found.statuses[status] += 1
        if status == 200:
            found.took.append(1000 * (time.perf_counter() - begin))
            found.texts += asked.texts
        return status, answer

    async def ask(self, asked: Asked) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        if asked.port not in self._open:
            self._open[asked.port] = await asyncio.open_connection("127.0.0.1", asked.port)
        reader, writer = self._open[asked.port]
        body = json.dumps(asked.body).encode()
        head = f"POST {asked.path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        writer.write(head.encode() + b"\r\n\r\n" + body)
        status, close, content = await _answer(reader)
        if close:
            self._close(asked.port)
        return status, json.loads(content)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    named = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    content = await reader.readexactly(int(named["content-length"]))
    return int(head.split()[1]), named.get("connection") == "close", content


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n")
    writer.close()
    return int(head.split()[1])
