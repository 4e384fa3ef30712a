"""``/run``: what a model of any kind gives for each item, at a size; what comes as a file is read as data is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from anysize.core.data.files.media import KINDS as MEDIA
from anysize.core.scratch import temporary_folder
from anysize.core.verbs.inputs import check_reads, inputs_of
from anysize.serve.answers.embeddings import INPUT, MODEL, SIZE, TASK, TRUNCATE, counted, items_of, said
from anysize.serve.held.errors import Refused
from anysize.serve.held.given import media_of
from anysize.serve.held.house import House
from anysize.serve.held.limits import body_of, json_of
from anysize.serve.held.served import How, Served
from anysize.serve.held.wire import Field, checked

FIELDS = (MODEL, INPUT, SIZE, TASK, TRUNCATE)
"""Beside these, the axes of the model, and the options of its run that are numbers (``max_new_tokens``, ``top``)."""
_ARRAYS = (".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".mat")
_SUFFIXES = (*(suffix for suffixes in MEDIA.values() for suffix in suffixes), ".mov", *_ARRAYS)
_FORM = Field("file", ("string",), "a file: a picture, a sound, a film, or arrays", required=True)


async def run(house: House, request: Request, arrived: float) -> Response:
    """The outputs of items in JSON, or of a file in a form (multipart/form-data)."""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await _file(house, request, arrived)
    body = await json_of(request, house.settings.max_body)
    served = house.model(body.get("model"))
    axes, options = served.model.nesting.axes, served.options
    asked = checked(FIELDS, body, more=[*axes, *options], lenient=house.settings.lenient)
    size = served.size({axis: asked[axis] for axis in axes if axis in asked}, asked.get("size"))
    items, how = _items(house, served, asked)
    how = how._replace(options=options_of(served, asked), size=size)
    tokens, cut = await counted(house, served, items, how, asked)
    ran = await served.run(items, [size] * len(items), how, tokens, arrived)
    data: list[dict[str, Any]] = []
    for place, (output, took) in enumerate(zip(ran.outputs, ran.took, strict=True)):
        data.append({"index": place, "output": output, **({"took": took} if took else {})})
    request.state.told = {"model": served.name, "size": str(size), "items": len(items)}
    return _answer(served, size, data, said(request, ran, [str(size)], cut))


def options_of(served: Served, asked: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The options that a request names, checked against what they are by default."""
    found = {}
    for name, default in served.options.items():
        if name not in asked:
            continue
        value = asked[name]
        if name == "stop":
            value = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
            fits = isinstance(value, tuple) and all(isinstance(one, str) for one in value)
        else:
            kind = int | float if isinstance(default, float) else type(default)
            fits = isinstance(value, kind) and isinstance(value, bool) == isinstance(default, bool)
        if not fits:
            raise Refused(400, "wrong_type", f"{name} is {str(value)[:60]}; expected one like {default!r}", name)
        found[name] = value
    return tuple(sorted(found.items()))


def _items(house: House, served: Served, asked: dict[str, Any]) -> tuple[list[Any], How]:
    """As for vectors; a picture or a sound alone is ``{"image": data URL}``."""
    given = asked["input"]
    listed = given if isinstance(given, list) else [given]
    if listed and all(isinstance(one, dict) and len(one) == 1 for one in listed):
        names = {name for one in listed for name in one}
        if len(names) == 1 and names <= set(served.model.reads) & set(MEDIA):
            (name,) = names
            return [media_of(one[name], name) for one in listed], How(of=name)
    if listed and "parts" in served.model.reads and all(isinstance(one, dict) for one in listed):
        asked = {**asked, "input": [listed]}  # one item of several parts
    return items_of(house, served, asked)


async def _file(house: House, request: Request, arrived: float) -> Response:
    """A file, which is read by what its name ends in; its own name is not kept."""
    fields, name, content = await form_of(house, request)
    served = house.model(fields.pop("model", None))
    axes = served.model.nesting.axes
    checked([_FORM, SIZE], {"file": "", **fields}, more=axes)
    size = served.size({axis: number_of(fields[axis]) for axis in axes if axis in fields}, fields.get("size"))

    with temporary_folder() as folder:
        path = Path(folder) / name
        await asyncio.to_thread(path.write_bytes, content)
        inputs = await asyncio.to_thread(inputs_of, path)
        check_reads(served.model, served.name, inputs)
        how = How(of="whole", size=size, alone=request.state.id)
        try:
            ran = await served.run([inputs.items.rows], [size], how, [len(inputs.items)], arrived)
        except ValueError as error:
            raise type(error)(str(error).replace(str(path), name)) from None
    data = [{"index": place, "output": output} for place, output in enumerate(ran.outputs[0])]
    request.state.told = {"model": served.name, "size": str(size), "items": len(data)}
    return _answer(served, size, data, said(request, ran, [str(size)]))


async def form_of(house: House, request: Request) -> tuple[dict[str, str], str, bytes]:
    """The fields of a form, and its file: a name of ours that ends as its own does, and its content."""
    content = await body_of(request, house.settings.max_body)

    async def once() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    try:
        form = await Request(request.scope, once).form(max_files=1, max_fields=64)
    except (HTTPException, KeyError) as error:
        why = getattr(error, "detail", error)
        raise Refused(400, "bad_form", f"the form cannot be read ({why})") from None
    try:
        return await _told(form)
    finally:
        await form.close()


async def _told(form: FormData) -> tuple[dict[str, str], str, bytes]:
    held = form.get("file")
    if not isinstance(held, UploadFile):
        raise Refused(400, "missing", "file is missing; send it as the field `file` of the form", "file")
    found = re.search(r"\.[a-z0-9]{1,11}$", (held.filename or "").lower())
    suffix = found[0] if found else ""
    if suffix not in _SUFFIXES:
        listed = ", ".join(_SUFFIXES)
        raise Refused(400, "wrong_value", f"the file's name ends in {suffix or 'nothing'}; expected {listed}", "file")
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    return fields, f"file{suffix}", await held.read()


def number_of(text: str) -> int | str:
    """A value of an axis as a form has it: a whole number, or a share such as 1/4."""
    return int(text) if text.isdecimal() and len(text) < 10 else text


def _answer(served: Served, size: Any, data: list[dict[str, Any]], headers: dict[str, str]) -> Response:
    content = {"object": "list", "model": served.name, "size": str(size), "gives": served.model.gives, "data": data}
    written = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(written, media_type="application/json", headers=headers)
