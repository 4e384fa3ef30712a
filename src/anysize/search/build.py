"""Writing an index: a new one, more rows, or the same rows again without the deleted ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anysize.core.errors import AnysizeError, CheckpointError, DataError
from anysize.core.sizes import Nesting
from anysize.search.entries import SegmentEntry
from anysize.search.items import Batch, batches, check_width, count
from anysize.search.lock import writing
from anysize.search.manifest import MANIFEST, Manifest, claim, commit, read_manifest, release, sweep
from anysize.search.models import describe_model, nesting_of
from anysize.search.segment import Segment
from anysize.search.stages import Sparse, code_sizes, shortlist_dims
from anysize.search.writer import SegmentWriter, disk_errors

METRICS = ("cosine", "dot")
_CHUNK = 65536


@dataclass(frozen=True)
class Plan:
    """How an index is to be laid out."""

    nesting: Nesting | None
    block: int
    codes: bool
    hnsw: bool
    metric: str
    vectors: bool = True

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise AnysizeError(f"metric {self.metric!r} is unknown; choose one of {', '.join(METRICS)}")
        if isinstance(self.block, bool) or not isinstance(self.block, int) or self.block < 1:
            raise AnysizeError(f"block={self.block!r} is not a width; expected a whole number of at least 1")
        if not self.vectors and self.hnsw:
            raise AnysizeError("an HNSW graph is searched over vectors, so they must be kept; leave out one of the two")


def block_bounds(nesting: Nesting, block: int) -> tuple[int, ...]:
    """Where blocks end: at sizes of the nesting, at least `block` apart, and at the full size."""
    bounds = [0]
    for dims in nesting.levels("dims"):
        if dims - bounds[-1] >= block or dims == nesting.full.dims:
            bounds.append(dims)
    return tuple(bounds)


def build(
    directory: Path,
    plan: Plan,
    items: Any,
    ids: Iterable[object] | None,
    model: Any,
    model_path: str | None,
    progress: bool | None,
) -> None:
    """Write a whole index; whatever index stood there answers until the new one is complete."""
    claim(directory)
    with disk_errors(directory), writing(directory):
        try:
            old = read_manifest(directory)
        except CheckpointError:  # none yet, or a damaged one, for which building again is the cure
            old = None
        if old or not (directory / MANIFEST).exists():  # what a damaged manifest names stays until we are done
            sweep(directory, old)
        try:
            stream = batches(items, ids, model)
            first = _first(stream)
            nesting = nesting_of(first.vectors.shape[1], plan.nesting, model)
            manifest = Manifest(
                nesting=nesting,
                metric=plan.metric,
                bounds=block_bounds(nesting, plan.block) if plan.vectors else (0,),
                sparse=_sparse(first, model, plan.vectors),
                source=first.source,
                codes=code_sizes(nesting) if plan.codes and plan.vectors else (),
                hnsw=shortlist_dims(nesting) if plan.hnsw else None,
                generation=old.generation if old else 0,
                **describe_model(model, model_path),
            )
            rows = itertools.chain([first], stream)
            entry = write_rows(directory, manifest, rows, set(), count(items), progress)
            manifest = commit(directory, replace(manifest, segments=(entry,), next_id=entry.rows))
        finally:
            release(directory)
        sweep(directory, manifest)


def append(directory: Path, items: Any, ids: Iterable[object] | None, model: Any, progress: bool | None) -> None:
    """Write more rows as a new segment."""
    with disk_errors(directory), writing(directory):
        manifest = read_manifest(directory)
        sweep(directory, manifest)
        taken: set[str] = set()
        for old in manifest.segments:
            segment = Segment(directory, manifest, old)
            taken.update(segment.ids(segment.alive()))
        stream = batches(items, ids, model)
        rows = itertools.chain([_first(stream)], stream)
        entry = write_rows(directory, manifest, rows, taken, count(items), progress)
        segments = (*manifest.segments, entry)
        commit(directory, replace(manifest, segments=segments, next_id=manifest.next_id + entry.rows))


def compact(directory: Path) -> None:
    """Write the rows that are left into one segment."""
    with disk_errors(directory), writing(directory):
        manifest = read_manifest(directory)
        sweep(directory, manifest)
        segments: tuple[SegmentEntry, ...] = ()
        if manifest.count:
            segments = (write_rows(directory, manifest, _kept(directory, manifest), set(), manifest.count, False),)
        sweep(directory, commit(directory, replace(manifest, segments=segments)))


def write_rows(
    directory: Path,
    manifest: Manifest,
    rows: Iterable[Batch],
    taken: set[str],
    total: int | None,
    progress: bool | None,
) -> SegmentEntry:
    """Write one segment of checked rows whose ids are not among `taken`, and describe it."""
    from tqdm import tqdm

    bar = tqdm(
        desc="index", total=total, unit=" items", disable=None if progress is None else not progress, leave=False
    )
    numbered = manifest.next_id
    with bar, SegmentWriter(directory, manifest) as writer:
        for batch in rows:
            vectors = batch.vectors
            if manifest.dims:
                check_width(vectors, manifest.dims, "vectors")
            if batch.source != manifest.source:
                raise DataError(
                    f"the index holds {manifest.source}, and item {writer.rows} is of the {batch.source} kind"
                )
            ids = batch.ids
            if ids is None:
                ids = [str(number) for number in range(numbered, numbered + len(vectors))]
                numbered += len(ids)
            for row, name in enumerate(ids, writer.rows):
                if name in taken:
                    raise DataError(f"id {name!r} (item {row}) is given twice or already in the index; make ids unique")
                taken.add(name)
            writer.add(vectors, ids, batch.texts, batch.codes)
            bar.update(len(ids))
        return writer.finish()


def _first(stream: Iterator[Batch]) -> Batch:
    first = next(stream, None)
    if first is None:
        raise DataError("there is nothing to index: no items were given")
    return first


def _sparse(first: Batch, model: Any, vectors: bool) -> Sparse | None:
    """What the index says of its sparse codes. Raises `AnysizeError` if nothing at all would be kept."""
    if first.codes is None:
        if not vectors:
            raise AnysizeError("this model makes no sparse codes, so without vectors nothing would be kept; keep them")
        return None
    latents = int(first.codes.shape[1])
    active = model.size.get("active") or getattr(model, "active", None) or latents
    return Sparse(latents, min(active, latents), vectors)


def _kept(directory: Path, manifest: Manifest) -> Iterator[Batch]:
    for entry in manifest.segments:
        segment = Segment(directory, manifest, entry)
        alive = segment.alive()
        codes = segment.lists.codes() if segment.lists else None
        for start in range(0, len(alive), _CHUNK):
            rows: np.ndarray = alive[start : start + _CHUNK]
            texts = [segment.text(row) or "" for row in rows.tolist()] if manifest.source == "texts" else None
            some = None if codes is None else codes[rows]
            yield Batch(segment.vectors(rows), segment.ids(rows), texts, manifest.source, some)
