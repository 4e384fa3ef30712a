"""An index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from anysize.cli.about.facts import About, bytes_on_disk, words


def about_index(path: Path) -> About:
    """Its items, how they are searched, and what a scan at each size reads, from the manifest alone."""
    from anysize.search.store.manifest import describe_plans, read_manifest

    manifest = read_manifest(path)
    blocks = [*manifest.bounds[1:]]
    written = {name for segment in manifest.segments for name in segment.files}  # small segments have no codes
    codes = [dims for dims in manifest.codes if f"codes-{dims}.faiss" in written]
    graph = manifest.hnsw if f"hnsw-{manifest.hnsw}.faiss" in written else None
    facts = {
        "items": manifest.count,
        "deleted": sum(segment.deleted_rows for segment in manifest.segments) or None,
        "dims": manifest.dims,
        "metric": manifest.metric,
        "codes": f"of the first {words(codes)} dims" if codes else None,
        "hnsw": f"over the first {words(graph)} dims" if graph else None,
        "search": describe_plans(manifest) if manifest.dims else None,
        "search_by_hnsw": describe_plans(manifest, graph=True) if graph else None,
        "sparse": f"codes over {words(manifest.sparse.latents)} latents" if manifest.sparse else None,
        "model": manifest.model_path,
        "model_fingerprint": manifest.model_fingerprint,
        "bytes_on_disk": bytes_on_disk(path),
    }
    rows = sum(segment.rows for segment in manifest.segments)
    sizes = [_size_of_index(size.dims, blocks, rows) for size in manifest.nesting if "dims" in size]
    query = '"..."' if manifest.source == "texts" else "--vector QUERY.npy"
    return About(path, "index", facts, sizes, f"anysize search {path} {query}")


def about_verified(path: Path) -> About:
    """The same, after every byte was compared with what was written. Raises `CheckpointError` if one differs."""
    from anysize.search import Index

    store = Index.open(path)
    store.verify()
    about = about_index(path)
    return replace(about, facts={**about.facts, "verified": f"all {store.bytes:,} bytes of the segments are unaltered"})


def _size_of_index(dims: int, blocks: list[int], rows: int) -> dict[str, Any]:
    """A size and the bytes that an exact scan at it reads: whole blocks of coordinates, of every row."""
    read = next((stop for stop in blocks if stop >= dims), dims)
    return {"size": f"dims={dims}", "bytes_per_item": 4 * dims, "bytes_to_scan": 4 * read * rows}
