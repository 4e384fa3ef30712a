"""A server's life: it binds, warms up, serves, and on SIGTERM lets balancers know before it runs out what it has."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator
from types import FrameType

import uvicorn

from anysize.core.errors import AnysizeError
from anysize.serve.app import build
from anysize.serve.gate import LOG
from anysize.serve.held.house import House


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises `AnysizeError` if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(2048)
    except (OSError, OverflowError) as error:
        found.close()
        why = getattr(error, "strerror", None) or error
        raise AnysizeError(
            f"cannot serve at {host} port {port} ({why}); choose another with --host or --port"
        ) from None
    return found


def address(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """
    On the first signal it says that it is about to end (``/readyz`` 503, new work 503) for `drain_notice` seconds, then
    closes its sockets and runs out what it has, for `drain` seconds at most; on the second it ends at once.
    """

    def __init__(self, house: House) -> None:
        self.house, self.settings = house, house.settings
        self.cut_off = 0
        """Requests that were in flight when it ended."""
        self._ends = float("inf")
        super().__init__(
            uvicorn.Config(
                build(house), log_config=None, access_log=False, server_header=False, timeout_keep_alive=30,
                timeout_graceful_shutdown=max(1, round(self.settings.drain)), h11_max_incomplete_event_size=65536,
            )
        )  # fmt: skip

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does."""
        if self.house.draining:
            self.should_exit = self.force_exit = True
            return
        self.drain()

    def drain(self) -> None:
        """Begin to end."""
        self.house.draining = True
        self._ends = time.monotonic() + self.settings.drain_notice

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop taking requests."""
        return await super().on_tick(counter) or time.monotonic() >= self._ends

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Run out what is in flight."""
        self.house.draining = True
        await super().shutdown(sockets)
        self.cut_off = self.house.in_flight + self.house.cut_off


def serve(house: House, listening: socket.socket) -> int:
    """Serve until a signal. Returns how many requests were cut off."""
    server = Server(house)
    with _logging(), _hanging_up(house):
        sys.stderr.write(f"anysize serves {', '.join(house.names())} at {address(listening)}\n")
        sys.stderr.flush()
        server.run(sockets=[listening])
    house.close(1.0)
    return server.cut_off


@contextlib.contextmanager
def _hanging_up(house: House) -> Iterator[None]:
    """SIGHUP reads the keys again; a file that cannot be read leaves those that there are."""

    def came(_number: int, _frame: FrameType | None) -> None:
        try:
            house.keys.read()
            LOG.info('{"event": "keys were read again"}')
        except AnysizeError as error:
            LOG.error("the keys stay as they were: %s", error)

    before = signal.signal(signal.SIGHUP, came if house.keys.guard else signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """One line a request, on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
