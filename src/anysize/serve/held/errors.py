"""What a request is refused with: one shape, OpenAI's, with a status, a type and a code that programs can read."""

from __future__ import annotations

from typing import Any

from anysize.core.errors import AnysizeError, CheckpointError, DataError, SizeError, lacks_memory
from anysize.serve.held.batching import ClosedError, FullError, LateError

TYPES = {
    401: "authentication_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "unavailable_error",
    504: "timeout_error",
}


class Refused(Exception):
    """A request that is not answered. `message` is a sentence: what was given, what was expected, what to do."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """As OpenAI's clients read it."""
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def refused(error: BaseException, request_id: str = "", param: str | None = None) -> Refused:
    """What is answered to an error. Bad input is always a 4xx: clients try a 5xx again by themselves."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, FullError):
        wait = f"{max(1, round(error.seconds))}"
        said = f"more is waiting than this server takes on; try again in {wait} s"
        return Refused(429, "queue_full", said, headers={"Retry-After": wait, "retry-after-ms": f"{wait}000"})
    if isinstance(error, LateError | TimeoutError):
        return Refused(504, "timeout", "the request waited longer than its time; try again, or ask for less at once")
    if isinstance(error, ClosedError):
        return draining()
    if isinstance(error, CheckpointError) or lacks_memory(error):
        why = "there is not enough memory for it" if lacks_memory(error) else "what is served cannot be read"
        return Refused(503, "engine_failed", f"the request could not be run: {why}", headers={"Retry-After": "5"})
    if isinstance(error, AnysizeError):
        code = "size_not_trained" if isinstance(error, SizeError) else "bad_input"
        code = "bad_input" if isinstance(error, DataError) else code
        return Refused(400, code, str(error), param)
    return Refused(500, "internal", f"the server failed on this request; its log tells more under {request_id}")


def draining() -> Refused:
    """For what comes while the server ends."""
    said = "this server is about to end; ask another, or try again soon"
    return Refused(503, "draining", said, headers={"Retry-After": "5", "Connection": "close"})
