"""Who may ask, and how much: API keys from a file, and bodies that are counted while they come in."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request

from anysize.core.errors import AnysizeError
from anysize.serve.held.errors import Refused

CLOSE = {"Connection": "close"}


class Keys:
    """The keys in a file, one a line; `read` reads them again."""

    def __init__(self, file: Path | None) -> None:
        self._file, self._keys = file, list[bytes]()
        if file is not None:
            self.read()

    def read(self) -> None:
        """Take the keys that the file holds now. Raises `AnysizeError` if it cannot be read or holds none."""
        assert self._file is not None
        try:
            lines = self._file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise AnysizeError(f"{self._file} cannot be read ({error}); expected a file with a key a line") from None
        found = [line.strip().encode() for line in lines if line.strip()]
        if not found:
            raise AnysizeError(f"{self._file} holds no key; expected one a line")
        self._keys = found

    @property
    def guard(self) -> bool:
        """Whether a key is needed."""
        return self._file is not None

    def check(self, header: str) -> str:
        """The name of a key for the log, of an ``Authorization`` header. Raises `Refused` if it is none of these."""
        scheme, _, key = header.partition(" ")
        given = key.strip().encode("utf-8", "surrogateescape")
        same = [hmac.compare_digest(given, one) for one in self._keys]  # all of them, whichever fits
        if scheme.lower() != "bearer" or not any(same):
            said = "this server needs a key; send it as `Authorization: Bearer KEY`"
            raise Refused(401, "invalid_api_key", said, headers={"WWW-Authenticate": "Bearer"})
        return hashlib.sha256(given).hexdigest()[-4:]


async def body_of(request: Request, most: int) -> bytes:
    """The body, read no further than `most` bytes. Raises `Refused` for a longer one and one that is packed."""
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Refused(415, "not_json", f"the body is packed by {coding[:40]}; send it as it is")
    too_large = Refused(
        413,
        "body_too_large",
        f"the body has more than {most:,} bytes; send less at once",
        headers=dict(CLOSE),
    )
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise too_large
    parts, count = [], 0
    async for part in request.stream():
        count += len(part)
        if count > most:
            raise too_large
        parts.append(part)
    task = asyncio.current_task()
    request.state.watch = asyncio.ensure_future(_hung_up(request, task))
    return b"".join(parts)


async def _hung_up(request: Request, task: asyncio.Task[Any] | None) -> None:
    """Once all was read, what comes next is that the client has gone: then nobody waits for the answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    if task is not None and not request.state.done:
        request.state.gone = True
        task.cancel()


async def json_of(request: Request, most: int) -> dict[str, Any]:
    """The JSON object of a body. Raises `Refused` if it is none."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refused(415, "not_json", f"the content type is {kind[:80]}; expected application/json")
    content = await body_of(request, most)
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "bad_json", f"the body is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise Refused(400, "bad_json", "the body is no JSON object; expected fields by name, in {}")
    return found
