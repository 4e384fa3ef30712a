"""
Late chunking (Günther et al. 2024, arXiv 2409.04701; Sturua et al. 2024, arXiv 2409.10173): embed a long text once,
then pool the tokens of each chunk, so that a chunk's vector has seen the words around it.

A text longer than the window is read in windows that overlap. Each token's state is taken from the first window that
holds it. Sums per chunk grow as windows pass, so memory holds one batch of windows, however long the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from anysize.backbones.layered import Backbone
from anysize.backbones.sentence import Encoder
from anysize.backbones.texts.batching import batches
from anysize.backbones.texts.spans import Chunker, Span, checked
from anysize.core.arguments import shown
from anysize.core.errors import AnysizeError, DataError
from anysize.text.depth.model import NestedEncoder
from anysize.text.embedder.model import Embedder
from anysize.text.long.windows import Document, Passage
from anysize.text.tasks.model import TaskEncoder


def late_chunk(model: Any, text: str, spans: Sequence[Span] | Chunker, **options: Any) -> np.ndarray:
    """
    Unit vectors of the chunks of one text, (chunks, dims) float32; see `late_chunks` for the options.

    One span over the whole text gives what ordinary encoding gives.
    """
    return late_chunks(model, [text], [spans] if not callable(spans) else spans, **options)[0]


def late_chunks(
    model: Any,
    texts: Sequence[str],
    spans: Sequence[Sequence[Span] | Chunker] | Chunker,
    *,
    window: int | None = None,
    overlap: int | None = None,
    prefix: str | None = None,
    pool_prefix: bool = False,
    batch_size: int = 64,
    bf16: bool = False,
) -> list[np.ndarray]:
    """
    Unit vectors of the chunks of each text: arrays (chunks, dims) at the model's size.

    `model` is a `NestedEncoder` or `Embedder` (any view of them), a `TaskEncoder` for one task (`for_task`), or a
    sentence-transformers model, its folder or its name; it must pool by the mean. `spans` are (start, end) in
    characters for each text, or a chunker such as `by_sentences(3)`. A token belongs to the span in which it ends; the
    model's own first and last tokens go with the first and last token of the text.

    `window` counts tokens of one pass, specials and prefix included (default: the model's limit), `overlap` the tokens
    that a window shares with the one before (default: an eighth). `prefix` (default: the model's prompt of documents,
    or the instruction of its task) stands before every window and is left out of all chunks, unless `pool_prefix` gives
    it to the first. Raises `AnysizeError` for a model that does not pool by the mean or a window it cannot read,
    `DataError` for a span outside its text or without a token.
    """
    reader = _reader(model)
    backbone = reader.backbone
    before = reader.prompt if prefix is None else prefix
    given = [spans] * len(texts) if callable(spans) else list(spans)
    if len(given) != len(texts):
        raise DataError(f"{len(given)} lists of spans for {len(texts)} texts; give one for each")
    found = []
    for text, own in zip(texts, given, strict=True):
        if not isinstance(text, str):
            raise DataError(f"expected a text to chunk; got {shown(text)}")
        found.append(Document(backbone, text, checked(own(text) if callable(own) else own, text), before, pool_prefix))
    limit = _limit(backbone, window)
    windows = [one for place, document in enumerate(found) for one in document.windows(place, limit, overlap)]
    _run(reader, found, windows, batch_size, bf16)
    return [reader.finish(document.means()) for document in found]


@dataclass(frozen=True)
class _Reader:
    """What a model needs to be: a backbone, how deep to run it, and what makes embeddings of its vectors."""

    backbone: Backbone
    depth: int
    model: Any
    prompt: str

    def finish(self, means: torch.Tensor) -> np.ndarray:
        """Mean states to embeddings at the model's size."""
        vectors = means.to(self.backbone.device)
        with torch.no_grad():
            vectors = self.backbone.finish(vectors).float()
            if isinstance(self.model, Embedder | TaskEncoder):
                found: np.ndarray = self.model.project(functional.normalize(vectors, dim=-1).cpu().numpy())
                return found
            return self.model._cut(vectors, self.depth, self.model.size.dims).cpu().numpy()


def _reader(model: Any) -> _Reader:
    if isinstance(model, Embedder):
        if model.encoder is None:
            raise AnysizeError("this model was fitted on vectors and has no encoder; chunks need one that reads texts")
        backbone = Backbone.of(model.encoder.model)
        reader = _Reader(backbone, backbone.depth, model, backbone.prompt("document"))
    elif isinstance(model, TaskEncoder):
        (task,) = model.tasks_of(1, None)
        model.adapters.use(task)
        reader = _Reader(model.encoder, model.encoder.depth, model, model.prompt_of(task))
    else:
        if not isinstance(model, NestedEncoder):
            model = NestedEncoder._declare(model if isinstance(model, Encoder) else Encoder(model), None, None, None)
        reader = _Reader(model.encoder, model.size.layers, model, model.encoder.prompt("document"))
    mode = getattr(reader.backbone.tail[0], "pooling_mode", None)
    if mode != "mean":
        raise AnysizeError(f"late chunking pools tokens by their mean; this model pools by {mode or 'other means'}")
    return reader


def _limit(backbone: Backbone, window: int | None) -> int:
    limit: int = backbone.settings["max_length"]
    config = backbone.transformer.config
    readable = max(limit, int(getattr(config, "max_position_embeddings", 0) or 0))
    if window is not None and not 1 <= window <= readable:
        raise AnysizeError(f"window={window}: this model reads 1 to {readable} tokens at a time")
    return window or limit


@torch.no_grad()
def _run(reader: _Reader, documents: list[Document], windows: list[Passage], batch_size: int, bf16: bool) -> None:
    backbone = reader.backbone
    windows = sorted(windows, key=lambda window: -len(window.ids))
    for rows in batches([len(window.ids) for window in windows], batch_size):
        part = [windows[row] for row in rows]
        inputs = backbone.tokenizer.pad({"input_ids": [window.ids for window in part]}, return_tensors="pt")
        inputs = {name: value.to(backbone.device) for name, value in inputs.items()}
        with torch.autocast(backbone.device.type, torch.bfloat16, enabled=bf16):
            states = backbone.states(inputs, [reader.depth])[reader.depth].float().cpu()
        for window, state in zip(part, states, strict=True):
            documents[window.document].add(window, state[window.taken])
