"""``/v1/audio/transcriptions``: what models that hear write down of a sound or a film, at a size."""

from __future__ import annotations

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response

from anysize.core.scratch import temporary_folder
from anysize.serve.answers.embeddings import MODEL, SIZE, said
from anysize.serve.answers.running import form_of, number_of
from anysize.serve.held.errors import Refused
from anysize.serve.held.house import House
from anysize.serve.held.served import How
from anysize.serve.held.wire import Field, checked

FIELDS = (
    MODEL,
    Field("file", ("string",), "a sound or a film", required=True),
    Field("response_format", ("string",), "what the answer is", choices=("json", "text")),
    SIZE,
)
"""Beside these, the axes of the model: ``audio``, ``video``."""


async def transcribe(house: House, request: Request, arrived: float) -> Response:
    """What is said in a sound or a film."""
    fields, name, content = await form_of(house, request)
    served = house.model(fields.get("model"))
    axes = served.model.nesting.axes
    if served.model.gives != "text" or "audio" not in served.model.reads:
        raise Refused(400, "not_supported", f"{served.name} does not write down what is said", "model")
    asked = checked(FIELDS, {"file": "", **fields}, more=axes)
    size = served.size({axis: number_of(asked[axis]) for axis in axes if axis in asked}, asked.get("size"))
    with temporary_folder() as folder:
        path = folder / name
        await asyncio.to_thread(path.write_bytes, content)
        how = How(of="audio", size=size, alone=request.state.id)
        try:
            ran = await served.run([path], [size], how, [1], arrived)
        except ValueError as error:
            raise type(error)(str(error).replace(str(path), "the file")) from None
    request.state.told = {"model": served.name, "size": str(size)}
    headers = said(request, ran, [str(size)])
    if asked.get("response_format") == "text":
        return Response(ran.outputs[0] + "\n", media_type="text/plain", headers=headers)
    answer = {
        "text": ran.outputs[0],
        "model": served.name,
        "size": str(size),
        **({"took": ran.took[0]} if ran.took else {}),
    }
    return Response(orjson.dumps(answer), media_type="application/json", headers=headers)
