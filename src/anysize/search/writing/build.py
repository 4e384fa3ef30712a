"""Building an index: how it is to be laid out, and writing it whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anysize.core.arguments import expect, one_of, whole
from anysize.core.errors import AnysizeError, CheckpointError
from anysize.core.sizes.nesting import Nesting
from anysize.search.asking.stages import Sparse, code_sizes, shortlist_dims
from anysize.search.intake.ids import Numbers
from anysize.search.intake.items import Batch, batches, count
from anysize.search.intake.models import describe_model, nesting_of
from anysize.search.store.lock import writing
from anysize.search.store.manifest import MANIFEST, Manifest, claim, commit, read_manifest, release, sweep, tidy
from anysize.search.store.segment import Segment
from anysize.search.writing.rows import Rows, first_of, write_rows
from anysize.search.writing.writer import disk_errors

METRICS = ("cosine", "dot")


@dataclass(frozen=True)
class IndexOptions:
    """How an index is to be laid out."""

    nesting: Nesting | None
    block: int
    codes: bool
    hnsw: bool
    metric: str
    vectors: bool = True
    passages: bool = False

    def __post_init__(self) -> None:
        expect(self.metric, one_of(METRICS), "metric")
        expect(self.block, whole(), "block")
        if not self.vectors and self.hnsw:
            raise AnysizeError("an HNSW graph is searched over vectors, so they must be kept; leave out one of the two")


def block_bounds(nesting: Nesting, block: int) -> tuple[int, ...]:
    """Where blocks end: at sizes of the nesting, at least `block` apart, and at the full size."""
    bounds = [0]
    for dims in nesting.values("dims"):
        if dims - bounds[-1] >= block or dims == nesting.full.dims:
            bounds.append(dims)
    return tuple(bounds)


def build(
    directory: Path,
    plan: IndexOptions,
    items: Any,
    ids: Iterable[object] | None,
    model: Any,
    model_path: str | None,
    progress: bool | None,
    strict: bool = False,
) -> tuple[Manifest, tuple[Segment, ...]]:
    """Write a whole index; whatever index stood there answers until the new one is complete, and open."""
    claim(directory)
    with disk_errors(directory), writing(directory):
        try:
            old = read_manifest(directory)
        except CheckpointError:  # none yet, or a damaged one, for which building again is the cure
            old = None
        if old or not (directory / MANIFEST).exists():  # what a damaged manifest names stays until we are done
            sweep(directory, old)
        try:
            stream = batches(items, ids, model, in_passages=plan.passages, strict=strict)
            first = first_of(stream)
            nesting = nesting_of(first.vectors.shape[1], plan.nesting, model)
            manifest = Manifest(
                nesting=nesting,
                metric=plan.metric,
                bounds=block_bounds(nesting, plan.block) if plan.vectors else (0,),
                sparse=_sparse(first, model, plan.vectors),
                source=first.source,
                codes=code_sizes(nesting) if plan.codes and plan.vectors else (),
                passages=plan.passages,
                hnsw=shortlist_dims(nesting) if plan.hnsw else None,
                generation=old.generation if old else 0,
                **describe_model(model, model_path),
            )
            rows = Rows(itertools.chain([first], stream), set(), Numbers(0))
            entry = write_rows(directory, manifest, rows, count(items), progress)
            segments = (Segment(directory, manifest, entry),)
            manifest = commit(directory, replace(manifest, segments=(entry,), next_id=rows.items))
            return manifest, segments
        finally:
            release(directory)
            tidy(directory)


def _sparse(first: Batch, model: Any, vectors: bool) -> Sparse | None:
    """What the index says of its sparse codes. Raises `AnysizeError` if nothing at all would be kept."""
    if first.codes is None:
        if not vectors:
            raise AnysizeError("this model makes no sparse codes, so without vectors nothing would be kept; keep them")
        return None
    latents, active = model.code_shape
    return Sparse(latents, active, vectors)
