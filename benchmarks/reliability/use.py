"""Reading and using an artefact as its owner would: told about, loaded whole and small, run, searched; one answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.artefacts import WIDTH, WORDS

TEXTS = [" ".join(WORDS[start : start + 5]) for start in range(0, 30, 6)]
ROWS = np.random.default_rng(7).standard_normal((12, WIDTH)).astype(np.float32)

MODELS = (
    "head",
    "projection",
    "layered",
    "tasks",
    "quantized",
    "quantized-lm",
    "classifier",
    "sae",
    "batchtopk",
    "csr",
)
FOREIGN = ("saelens", "dictionary", "sparsify")
ENCODERS = ("base", "cut-head", "cut-layered")
INDEXES = ("index-texts", "index-vectors", "index-codes", "index-sparse", "index-deletions")
FILES = ("frontier.json",)
DATA = ("data/beir", "data/pairs.jsonl", "data/texts.jsonl", "data/scored.jsonl", "data/labelled.jsonl",
        "data/plain.csv", "data/vectors.npy", "data/vectors.safetensors", "data/pairs.parquet")  # fmt: skip

READS_ROWS = ("projection", "classifier", "sae", "batchtopk", "csr", *FOREIGN)
WITHOUT_CHECKSUM = (*FOREIGN, *ENCODERS, *FILES, *DATA)
"""Kinds whose format has nothing to tell other values by: others' formats, and what people write by hand."""


def answer(name: str, path: Path) -> str:
    """A digest of everything that `path`, an artefact of the kind of `name`, answers. Raises `AnysizeError`."""
    _told(path)
    return _digest(_use_of(name)(path))


def _use_of(name: str) -> Callable[[Path], Any]:
    if name in INDEXES:
        return _searched
    if name in ENCODERS:
        return _encoded
    if name in FILES:
        return _chosen
    if name in DATA:
        return _rows
    return lambda path: _run(path, ROWS if name in READS_ROWS else TEXTS)


def _told(path: Path) -> None:
    """`anysize info`, of which only the exit counts; what it says is free to differ."""
    _verb("info", path)


def _verb(*words: str | Path) -> None:
    from anysize.cli.main import run

    if status := run([str(word) for word in words]):
        raise SystemExit(status)


def _run(path: Path, example: Any) -> Any:
    """A model whole, and its smallest size alone."""
    import torch

    import anysize

    found = []
    with torch.no_grad():
        whole: Any = anysize.load(path)
        tasks = ("text-matching", "retrieval.query") if whole.kind == "task-encoder" else (None,)
        small: Any = anysize.load(path, whole.nesting[0])
        for task in tasks:
            views = [model if task is None else model.for_task(task) for model in (whole, small)]
            for view in views:
                found += [(str(size), out.numpy()) for size, out in view.outputs(example).items()]
            if whole.kind not in ("classifier", "causal-lm", "quantized-lm"):
                codes = views[0].encode(example)
                found.append(("codes", codes.to_scipy().toarray() if whole.kind == "sae" else np.asarray(codes)))
    _finite(found)
    return found


def _encoded(path: Path) -> Any:
    from anysize.backbones.sentence import Encoder

    encoder = Encoder(str(path))
    found = [("features", np.asarray(encoder.encode(TEXTS)))]
    _finite(found)
    return found


def _finite(found: list[tuple[str, Any]]) -> None:
    for name, values in found:
        if not np.isfinite(values).all():
            raise ArithmeticError(f"{name} holds values that are not finite")


def _searched(path: Path) -> Any:
    from anysize.search import Index

    index = Index.open(path)
    queries: Any = TEXTS if index.manifest.source == "texts" else ROWS
    asked: list[dict[str, Any]] = [{}, {"k": len(index)}]
    if index.manifest.source == "vectors" and len(index.nesting) > 1:
        asked.append({"stages": f"dims={index.nesting[0].dims}:50,dims={WIDTH}"})
    if index.manifest.hnsw:
        asked.append({"approximate": "hnsw"})
    answers = [index.search_many(queries, **{"k": 5, **options}) for options in asked]
    return [[(hit.id, hit.score, hit.text) for hit in each.hits] for one in answers for each in one]


def _chosen(path: Path) -> Any:
    from anysize.core.frontier.frontier import Frontier

    frontier = Frontier.from_json(path)
    _verb("choose", path, "--within", "5%")
    return [frontier.table(), frontier.cheapest(within=0.05).to_json(), frontier.to_json()["records"]]


def _rows(path: Path) -> Any:
    from anysize.core.data.read import read

    data = read(path)
    items = data.items()
    vectors = [] if items.vectors is None else [("vectors", np.asarray(items.vectors))]
    return [list(items.ids or []), list(items.texts or []), data.notes, *vectors]


def _digest(value: Any) -> str:
    whole = hashlib.sha256()

    def take(part: Any) -> None:
        if isinstance(part, np.ndarray):
            whole.update(str((part.dtype, part.shape)).encode() + np.ascontiguousarray(part).tobytes())
        elif isinstance(part, list | tuple):
            whole.update(b"[")
            for each in part:
                take(each)
        else:
            whole.update(json.dumps(part, sort_keys=True, default=str).encode())

    take(value)
    return whole.hexdigest()
