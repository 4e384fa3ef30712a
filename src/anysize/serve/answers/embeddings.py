"""``/v1/embeddings`` and ``/tokenize``: OpenAI's fields, and beside them every axis that the model is nested in."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from anysize.core.data.files.media import KINDS as MEDIA
from anysize.core.errors import DataError
from anysize.core.sizes.size import Size
from anysize.serve.held.errors import Refused
from anysize.serve.held.given import media_of, texts_of
from anysize.serve.held.house import House
from anysize.serve.held.limits import json_of
from anysize.serve.held.served import How, Ran, Served
from anysize.serve.held.wire import Field, checked

LARGE = 256
"""Vectors of an answer from which it is written off the event loop."""
MODEL = Field("model", ("string",), "the name of a served model, as /v1/models lists them")
INPUT = Field(
    "input",
    ("string", "array"),
    "a text or a list of texts; vectors, of a model that reads vectors; lists of parts, of one that reads such",
    required=True,
)
SIZE = Field("size", ("string",), "a size as it is typed everywhere, such as dims=64,layers=4, or its name")
TASK = Field("task", ("string",), "what the texts are for: query, document, or a task of the model")
TRUNCATE = Field(
    "truncate", ("string", "boolean"), "what is done with texts that the model does not read whole: NONE refuses them, "
    "END (or true) cuts them at the end and says so", choices=("NONE", "END", True, False)
)  # fmt: skip
FIELDS = (
    MODEL,
    INPUT,
    Field("dimensions", ("integer",), "a width that the model was trained for"),
    Field("encoding_format", ("string",), "how numbers are written: base64 is of little-endian float32",
          choices=("float", "base64")),
    Field("user", ("string",), "who asks; not used"),
    SIZE,
    Field("sizes", ("array",), "several sizes of each text from one pass; each item then says its size",
          items={"type": "string"}),
    TASK,
    Field("input_type", ("string",), "the same as task"),
    TRUNCATE,
    Field("truncation", ("boolean",), "the same as truncate"),
    Field("output_dtype", ("string",), "binary and ubinary: the signs of the numbers, eight packed in one",
          choices=("float", "binary", "ubinary")),
)  # fmt: skip
"""Beside these, the axes of the model: ``layers``, ``bits``, ``tokens``, ..."""
TOKENIZE = (MODEL, INPUT, TASK)


async def embeddings(house: House, request: Request, arrived: float) -> Response:
    """Vectors of texts at the sizes that are asked for."""
    body = await json_of(request, house.settings.max_body)
    served = house.model(body.get("model"))
    if not served.embeds:
        raise Refused(400, "not_supported", f"{served.name} gives {served.model.gives}, no vectors; use /run", "model")
    axes = served.model.nesting.axes
    asked = checked(FIELDS, body, more=axes, lenient=house.settings.lenient)
    sizes = sizes_of(served, asked, axes)
    packed = asked.get("output_dtype", "float")
    for size in sizes if packed != "float" else ():
        if size.get("dims", 8) % 8:
            raise Refused(400, "wrong_value", f"{size} cannot be packed: {packed} holds 8 numbers in one", "dimensions")
    items, how = items_of(house, served, asked)
    tokens, cut = await counted(house, served, items, how, asked)
    rows = [(item, size) for item in items for size in sizes]
    ran = await served.run(
        [item for item, _ in rows], [size for _, size in rows], how, [one for one in tokens for _ in sizes], arrived
    )
    usage: dict[str, Any] = {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}
    usage |= {"truncated_inputs": cut} if cut else {}
    many = [str(size) for _, size in rows] if "sizes" in asked else None
    names = [str(size) for size in sizes]
    answer = {"model": served.name, "size": names if many else names[0], "usage": usage}
    write = asyncio.to_thread if len(rows) >= LARGE else _at_once
    content = await write(_written, ran.outputs, many, asked.get("encoding_format", "float"), packed, answer)
    request.state.told = {"model": served.name, "size": names[0], "texts": len(items), "tokens": sum(tokens)}
    return Response(content, media_type="application/json", headers=said(request, ran, names, cut))


async def tokenize(house: House, request: Request, arrived: float) -> Response:
    """How many tokens texts have, special ones included, without running anything."""
    body = await json_of(request, house.settings.max_body)
    served, asked = house.model(body.get("model")), checked(TOKENIZE, body, lenient=house.settings.lenient)
    texts = texts_of(asked["input"], "input")
    if served.limit is None and not served.writes:
        raise Refused(400, "not_supported", f"{served.name} does not say how many tokens a text has", "model")
    tokens, _ = await served.counts(texts, served.how(asked.get("task")))
    content = {"model": served.name, "tokens": tokens, "total": sum(tokens), "max_tokens": served.limit}
    return Response(orjson.dumps(content), media_type="application/json")


def sizes_of(served: Served, asked: dict[str, Any], axes: Sequence[str]) -> list[Size]:
    """The sizes that a request names, in whichever way; without any, the default one."""
    named = {axis: asked[axis] for axis in axes if axis in asked}
    if "dimensions" in asked and "dims" in named:
        raise Refused(400, "wrong_value", "dims stands beside dimensions, which says the same; give one", "dims")
    named |= {"dims": asked["dimensions"]} if "dimensions" in asked else {}
    if "dimensions" in asked and "dims" not in served.model.nesting.axes:
        there = ", ".join(served.model.nesting.axes)
        raise Refused(400, "axis_unknown", f"{served.name} is not nested in dims; its axes are {there}", "dimensions")
    several = asked.get("sizes")
    if several is None:
        return [served.size(named, asked.get("size"))]
    if named or "size" in asked:
        raise Refused(400, "wrong_value", "sizes stands beside other names of a size; give one of them", "sizes")
    if not several or len(several) > len(served.model.nesting) + 64:
        raise Refused(400, "wrong_value", f"sizes holds {len(several)} sizes; expected each once", "sizes")
    return served.several(several)


def items_of(house: House, served: Served, asked: dict[str, Any]) -> tuple[list[Any], How]:
    """The items of a request, and what they have in common. Raises `Refused` for token ids and for what is none."""
    given, reads = asked["input"], served.model.reads
    how = served.how(asked.get("task", asked.get("input_type")))
    listed = given if isinstance(given, list) else [given]
    most = house.settings.max_texts
    if len(listed) > most and not _numbers(listed):
        raise Refused(413, "too_many_texts", f"input holds {len(listed):,} items; at most {most:,} at once", "input")
    if listed and "vector" in reads and _rows(listed) and not ("text" in reads and _whole(listed)):
        return vectors_of(listed), how._replace(of="vector")
    if "text" in reads and _numbers(listed[0] if listed and isinstance(listed[0], list) else listed):
        raise Refused(
            400, "token_ids_refused", "input holds token ids, of a tokenizer that is not this model's; send texts "
            "(LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)", "input"
        )  # fmt: skip
    if "parts" in reads and any(isinstance(one, list) for one in listed):
        return [parts_of(one) for one in listed], how._replace(of="parts")
    if "text" not in reads:
        raise Refused(400, "wrong_type", f"{served.name} reads {' and '.join(reads)}, no texts", "input")
    return texts_of(given, "input"), how


async def counted(
    house: House, served: Served, items: list[Any], how: How, asked: dict[str, Any]
) -> tuple[list[int], list[int]]:
    """The tokens that are run of each item, and which items are cut. Raises `Refused` if they are too many."""
    tokens, limit = await served.counts(items, how)
    long = [row for row, count in enumerate(tokens) if count > limit]
    wanted = asked.get("truncate", asked.get("truncation"))
    cuts = house.settings.on_long == "cut" if wanted is None else wanted in ("END", True)
    if long and not cuts:
        said_ = f"input {long[0]} has {tokens[long[0]]} tokens or more, and {served.name} reads {limit:.0f}; send less "
        raise Refused(400, "too_many_tokens", said_ + 'of it, or "truncate": "END" to have it cut there', "input")
    house.metrics.cut.inc(len(long))
    run = [int(min(count, limit)) for count in tokens]
    most = house.settings.max_request_tokens
    if sum(run) > most:
        raise Refused(400, "too_many_tokens", f"input has {sum(run):,} tokens; at most {most:,} at once", "input")
    return run, long


def said(request: Request, ran: Ran, sizes: Sequence[str], cut: Sequence[int] = ()) -> dict[str, str]:
    """What an answer tells of itself in a header."""
    parts = [f"size={'|'.join(sizes)}", f"queue_ms={ran.queue_ms}", f"run_ms={ran.run_ms}", f"batch={ran.batch}"]
    return {"X-Anysize": "; ".join([*parts, *([f"truncated={len(cut)}"] if cut else [])])}


def vectors_of(listed: list[Any]) -> list[np.ndarray]:
    """Rows of numbers, one or several. Raises `Refused` if they differ in length."""
    rows = listed if isinstance(listed[0], list) else [listed]
    try:
        found = np.asarray(rows, np.float32)
    except (ValueError, TypeError, OverflowError):
        raise Refused(400, "bad_vector", "input holds rows that are no vectors of one length", "input") from None
    if found.ndim != 2 or not found.shape[1] or not np.isfinite(found).all():
        raise Refused(400, "bad_vector", "input holds rows that are no vectors of finite numbers", "input")
    return list(found)


def parts_of(given: Any) -> list[dict[str, Any]]:
    """A text and pictures that belong together: ``[{"text": ...}, {"image": data URL}]``."""
    parts: list[dict[str, Any]] = []
    for part in given if isinstance(given, list) else [{"text": given}]:
        name = next(iter(part), None) if isinstance(part, dict) and len(part) == 1 else None
        if name == "text" and isinstance(part["text"], str):
            parts.append(part)
        elif name in MEDIA:
            parts.append({name: media_of(part[name], str(name))})
        else:
            raise Refused(400, "wrong_type", "a part is a text or a file, such as {'image': 'data:...'}", "input")
    if not parts:
        raise DataError("a list of parts is empty; give a text, a picture, or both")
    return parts


def _written(vectors: list[Any], sizes: list[str] | None, form: str, packed: str, answer: dict[str, Any]) -> bytes:
    data = []
    for place, vector in enumerate(vectors):
        row: Any = np.ascontiguousarray(vector, "<f4")
        if packed != "float":
            bits = np.packbits(row > 0)
            row = bits if packed == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
        shown = base64.b64encode(row.tobytes()).decode() if form == "base64" else row
        item = {"object": "embedding", "index": place, "embedding": shown}
        data.append(item if sizes is None else {**item, "index": place, "size": sizes[place]})
    return orjson.dumps({"object": "list", "data": data, **answer}, option=orjson.OPT_SERIALIZE_NUMPY)


async def _at_once(write: Any, *given: Any) -> Any:
    return write(*given)


def _numbers(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(type(one) in (int, float) for one in given)


def _whole(listed: list[Any]) -> bool:
    """Whether all numbers are whole ones, as token ids are."""
    return all(type(one) is int for row in (listed if isinstance(listed[0], list) else [listed]) for one in row)


def _rows(listed: list[Any]) -> bool:
    return _numbers(listed) or all(_numbers(one) for one in listed)
