"""An endpoint that speaks OpenAI's chat protocol, asked over HTTP with nothing but the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from anysize.core.arguments import TEXT, number, takes
from anysize.core.errors import AnysizeError

_MOST = 1 << 20
"""Bytes of an answer that are read."""


class Endpoint:
    """``POST address/chat/completions``; a `model` that is not named is the first that the endpoint lists."""

    @takes(address=TEXT, timeout=number(above=0))
    def __init__(
        self, address: str, model: str | None = None, *, timeout: float = 30.0, key: str | None = None
    ) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AnysizeError(f"{address} is no address of an endpoint; expected one like http://localhost:8000/v1")
        self.address, self.model, self.timeout, self.key = address.rstrip("/"), model, timeout, key

    def __call__(self, prompt: str) -> str:
        """What is said to a prompt, at most 5 tokens. Raises `OSError` where nothing that can be read comes in time."""
        if self.model is None:
            listed = self._fetch("models", None)
            self.model = str(_inside(listed, "data", 0, "id"))
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 5,
        }
        return str(_inside(self._fetch("chat/completions", body), "choices", 0, "message", "content"))

    def _fetch(self, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        asked = urllib.request.Request(f"{self.address}/{path}", data, headers)
        try:
            with urllib.request.urlopen(asked, timeout=self.timeout) as answer:
                return json.loads(answer.read(_MOST))
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(f"{self.address} answered {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise OSError(f"{self.address}: {error.reason}") from None
        except TimeoutError:
            raise OSError(f"{self.address} did not answer within {self.timeout:g} s") from None
        except ValueError:
            raise OSError(f"{self.address} did not answer in JSON") from None


def _inside(found: Any, *path: str | int) -> Any:
    """What lies in an answer. Raises `OSError` if it is not there."""
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            raise OSError(f"the endpoint's answer has no {'.'.join(map(str, path))}") from None
    return found
