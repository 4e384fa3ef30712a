"""
``/v1/chat/completions``: what models that give words say to messages, at a size.

For looking, not for load: answers that wait run together, but one that is streamed runs alone. For load, cut a size out
and give it to an engine that is made for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from anysize.core.model.faces import Predicts
from anysize.serve.answers.embeddings import MODEL, SIZE, said
from anysize.serve.answers.running import options_of
from anysize.serve.held.errors import Refused, refused
from anysize.serve.held.given import media_of
from anysize.serve.held.house import House
from anysize.serve.held.limits import json_of
from anysize.serve.held.served import How, Ran, Served
from anysize.serve.held.wire import Field, checked

FIELDS = (
    MODEL,
    Field("messages", ("array",), "what was said, as [{role, content}]", required=True, items={"type": "object"}),
    Field("max_tokens", ("integer",), "tokens of an answer at most", least=1),
    Field("max_completion_tokens", ("integer",), "the same", least=1),
    Field("temperature", ("number",), "0 says the likeliest", least=0, most=2),
    Field("seed", ("integer",), "what is drawn above temperature 0", least=0),
    Field("stop", ("string", "array"), "what ends an answer", items={"type": "string"}),
    Field("stream", ("boolean",), "whether the answer comes in pieces, as they are made"),
    Field("stream_options", ("object",), "include_usage: tokens in the last piece"),
    Field("n", ("integer",), "1", least=1, most=1),
    Field("user", ("string",), "who asks; not used"),
    SIZE,
)
"""Beside these, the axes of the model: ``bits``, ``tokens``."""
LACKS = ("tools", "tool_choice", "functions", "response_format", "logprobs", "top_logprobs", "top_p", "logit_bias",
         "presence_penalty", "frequency_penalty")  # fmt: skip


class Gone(Exception):
    """Nobody waits for the answer any more."""


async def chat(house: House, request: Request, arrived: float) -> Response:
    """An answer to messages."""
    body = await json_of(request, house.settings.max_body)
    served = house.model(body.get("model"))
    if not served.writes or not {"text", "parts"} & set(served.model.reads):
        raise Refused(400, "not_supported", f"{served.name} gives {served.model.gives}; no chat", "model")
    lacks = next((name for name in LACKS if body.get(name) not in (None, False, [], {}) and _asks(body, name)), None)
    if lacks:
        raise Refused(400, "not_supported", f"{lacks} is not supported here; leave it out", lacks)
    axes = served.model.nesting.axes
    asked = checked(FIELDS, body, more=[*axes, *LACKS], lenient=house.settings.lenient)
    size = served.size({axis: asked[axis] for axis in axes if axis in asked}, asked.get("size"))
    given: dict[str, Any] = {name: asked[name] for name in ("temperature", "seed", "stop") if name in asked}
    most = asked.get("max_completion_tokens", asked.get("max_tokens"))
    for name in given:
        if name not in served.options and not (name == "temperature" and given[name] == 0):
            raise Refused(400, "not_supported", f"{served.name} does not run with {name}; leave it out", name)
    options = options_of(served, {**given, **({} if most is None else {"max_new_tokens": most})})
    item, of = prompt_of(served, asked["messages"])
    how = How(of=of, options=options, size=size)
    tokens, _ = await served.counts([item], how)
    limit = dict(options).get("max_new_tokens", served.options.get("max_new_tokens"))
    answer = Answer(served, request.state.id, tokens[0], limit, str(size))
    request.state.told = {"model": served.name, "size": str(size), "tokens": tokens[0]}
    if asked.get("stream"):
        usage = bool(asked.get("stream_options", {}).get("include_usage"))
        pieces = answer.streamed(item, how, arrived, usage)
        first = await anext(pieces)  # what is refused is refused before the answer begins
        return StreamingResponse(_after(first, pieces), media_type="text/event-stream")
    ran = await served.run([item], [size], how, tokens, arrived)
    headers = said(request, ran, [str(size)])
    return Response(orjson.dumps(await answer.whole(ran)), media_type="application/json", headers=headers)


def _asks(body: dict[str, Any], name: str) -> bool:
    """Whether a field asks for more than what is done anyway."""
    usual = {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "response_format": {"type": "text"}}
    return bool(body[name] != usual.get(name, ()))


def prompt_of(served: Served, messages: list[Any]) -> tuple[Any, str]:
    """What the model is given for messages: a text, or parts where there are pictures."""
    parts, words = list[dict[str, Any]](), list[dict[str, str]]()
    for place, message in enumerate(messages):
        role, content = (
            (message.get(name) for name in ("role", "content")) if isinstance(message, dict) else (None,) * 2
        )
        if role not in ("system", "developer", "user", "assistant") or not isinstance(content, str | list):
            raise Refused(400, "wrong_type", f"message {place} has no role and content that are known", "messages")
        found = [{"type": "text", "text": content}] if isinstance(content, str) else content
        own = [_part(part) for part in found]
        parts += own
        words.append({"role": role, "content": " ".join(part["text"] for part in own if "text" in part)})
    if not any(one["content"].strip() for one in words):
        raise Refused(400, "empty_input", "the messages hold no text", "messages")
    if "text" not in served.model.reads:
        return parts, "parts"
    if any("text" not in part for part in parts):
        raise Refused(400, "not_supported", f"{served.name} reads texts alone; leave pictures out", "messages")
    tokenizer: Any = served.model.tokenizer if isinstance(served.model, Predicts) else None
    if getattr(tokenizer, "chat_template", None):
        text: str = tokenizer.apply_chat_template(words, tokenize=False, add_generation_prompt=True)
        return text.removeprefix(tokenizer.bos_token or ""), "text"
    return "\n".join(one["content"] for one in words), "text"


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    if kind == "image_url":
        return {"image": media_of(part.get("image_url"), "image_url")}
    raise Refused(400, "not_supported", f"a part of the type {str(kind)[:40]} is not read", "messages")


class Answer:
    """One answer, as OpenAI's clients read it."""

    def __init__(self, served: Served, name: str, tokens: int, most: Any, size: str) -> None:
        self.served, self.tokens, self.most = served, tokens, most
        self.head: dict[str, Any] = {
            "id": f"chatcmpl-{name}",
            "created": int(time.time()),
            "model": served.name,
            "size": size,
        }

    async def whole(self, ran: Ran) -> dict[str, Any]:
        """All at once."""
        usage = await self.usage(ran.outputs[0])
        message = {"role": "assistant", "content": ran.outputs[0]}
        choice = {"index": 0, "message": message, "finish_reason": self.finish(usage), "logprobs": None}
        took = {"took": ran.took[0]} if ran.took[0] else {}
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": usage, **took}

    async def usage(self, text: str) -> dict[str, int]:
        """Tokens of what was asked and said."""
        (count,), _ = await self.served.counts([text], How(of="text")) if text else ([0], 0)
        return {"prompt_tokens": self.tokens, "completion_tokens": count, "total_tokens": self.tokens + count}

    def finish(self, usage: dict[str, int]) -> str:
        """Why it ends."""
        return "length" if self.most is not None and usage["completion_tokens"] >= self.most else "stop"

    async def streamed(self, item: Any, how: How, arrived: float, told_usage: bool) -> AsyncIterator[bytes]:
        """In pieces, as server-sent events."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str]()
        gone = False

        def told(text: str) -> None:
            if gone:
                raise Gone
            loop.call_soon_threadsafe(pieces.put_nowait, text)

        how = how._replace(alone=self.head["id"], told=told if self.served.tells else None)
        size = how.size
        assert size is not None
        running = asyncio.ensure_future(self.served.run([item], [size], how, [self.tokens], arrived))
        sent = ""
        try:
            while not running.done() or not pieces.empty():
                waiting = asyncio.ensure_future(pieces.get())
                await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    continue
                text = waiting.result()
                if text.startswith(sent) and not text.endswith("\ufffd") and not self._may_stop(text, how):
                    yield self.piece({**({} if sent else {"role": "assistant"}), "content": text[len(sent) :]})
                    sent = text
            text = running.result().outputs[0]
            yield self.piece({**({} if sent else {"role": "assistant"}), "content": text[len(sent) :]})
            usage = await self.usage(text)
            yield self.piece({}, self.finish(usage))
            if told_usage:
                yield _event({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"
        except Exception as error:
            if not sent:
                raise
            yield _event(refused(error, str(self.head["id"])).body())  # it has begun, so this is how it is told
        finally:
            gone = True
            running.cancel()

    def _may_stop(self, text: str, how: How) -> bool:
        """Whether the end of a text may be the beginning of what ends it, or is that."""
        stops = dict(how.options).get("stop", ())
        return any(stop in text or any(text.endswith(stop[:end]) for end in range(1, len(stop))) for stop in stops)

    def piece(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        """One event."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({**self.head, "object": "chat.completion.chunk", "choices": [choice]})


def _event(content: Any) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for one in rest:
        yield one
