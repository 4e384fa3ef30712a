"""
The server that one writes in an hour, as a peer: FastAPI over sentence-transformers with a lock.

It encodes the texts of a request whole, cuts them to `dimensions`, normalises, and answers as the others do.

    python -m benchmarks.serve.plain 8081
"""

from __future__ import annotations

import asyncio
import base64
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.serve.loading import BASE


def plain(model: Any) -> FastAPI:
    """The app."""
    app, lock, pool = FastAPI(), threading.Lock(), ThreadPoolExecutor(8)

    def encoded(texts: list[str], dims: int) -> bytes:
        with lock:
            found = model.encode(texts, batch_size=64, show_progress_bar=False)[:, :dims]
        found = found / np.linalg.norm(found, axis=1, keepdims=True)
        rows = [{"embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()} for row in found]
        return orjson.dumps({"data": rows})

    @app.post("/embeddings")
    async def embeddings(request: Request) -> Response:
        body = orjson.loads(await request.body())
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(pool, encoded, body["input"], body["dimensions"])
        return Response(content, media_type="application/json")

    return app


def main() -> None:
    """Serve MiniLM on one thread at the port that is named."""
    import torch
    import uvicorn

    from anysize.backbones.sentence import Encoder

    torch.set_num_threads(1)
    uvicorn.run(plain(Encoder(BASE).model), port=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
