"""
The index's one mutable file, `index.json`: what the index is and which immutable segments make it up.

Replacing it is the commit: a reader sees the old generation or the new one, never a part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anysize.core.errors import CheckpointError, SizeError
from anysize.core.files import read_json, write_json
from anysize.core.sizes import Nesting
from anysize.search.lock import LOCK
from anysize.search.plans import UNCHECKED, Plans
from anysize.search.stages import Sparse, shortlist_dims

MANIFEST = "index.json"
SEGMENTS = "segments"
_FORMAT = "anysize-index"
_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class SegmentEntry:
    """One immutable directory of rows, and the separate file that says which rows are deleted."""

    name: str
    rows: int
    files: dict[str, FileEntry]
    deleted: str | None = None
    deleted_rows: int = 0
    deleted_file: FileEntry | None = None
    plans: Plans | None = None
    """How it is searched by default; None in indexes older than the check."""

    @property
    def count(self) -> int:
        """Rows that are not deleted."""
        return self.rows - self.deleted_rows


@dataclass(frozen=True)
class Manifest:
    """What an index is. Frozen: a writer makes a new one and commits it."""

    nesting: Nesting
    metric: str
    bounds: tuple[int, ...]
    """Block bounds: block i holds the coordinates [bounds[i], bounds[i + 1])."""
    source: str = "vectors"
    """What the index was built from: "texts", "vectors" (as they are) or "encoded" (vectors through the model)."""
    codes: tuple[int, ...] = ()
    """Prefixes that have codes, in dims."""
    hnsw: int | None = None
    """Prefix that has an HNSW graph, in dims; None without one."""
    sparse: Sparse | None = None
    """The sparse codes beside the vectors, or in place of them; None without any."""
    model_path: str | None = None
    model_fingerprint: str | None = None
    model_size: str | None = None
    next_id: int = 0
    generation: int = 0
    segments: tuple[SegmentEntry, ...] = field(default=())

    @property
    def dims(self) -> int:
        """Width of the stored vectors; 0 where only sparse codes are kept."""
        return self.bounds[-1]

    @property
    def count(self) -> int:
        """Items that a search can find."""
        return sum(segment.count for segment in self.segments)


def describe_plans(manifest: Manifest, *, graph: bool = False) -> str:
    """How a search without stages, or one by the graph, finds its first hits, and why."""
    dims, rows = shortlist_dims(manifest.nesting), Counter[str]()
    for segment in manifest.segments:
        plans = segment.plans or UNCHECKED
        rows[plans.describe(dims, graph=graph and bool(plans.graph))] += segment.count
    if len(rows) <= 1:
        return next(iter(rows), "nothing to find")
    return "; ".join(f"{count:,} items: {words}" for words, count in rows.most_common())


def read_manifest(directory: Path) -> Manifest:
    """Read `index.json`. Raises `CheckpointError` if there is none, or if it is damaged, altered or newer than us."""
    path = directory / MANIFEST
    value = read_json(path, "an index")
    damaged = f"{path} is damaged or was changed by hand; build the index again"
    if not isinstance(value, dict) or value.get("format") != _FORMAT:
        raise CheckpointError(f"{path} does not describe an anysize index")
    if value.get("version") != _VERSION:
        raise CheckpointError(f"{path} has format version {value.get('version')}; this anysize reads {_VERSION}")
    if value.pop("sha256", None) != _digest(value):
        raise CheckpointError(damaged)
    try:
        value["segments"] = tuple(_segment(entry) for entry in value["segments"])
        value["nesting"] = Nesting.from_json(value["nesting"])
        value["bounds"], value["codes"] = tuple(value["bounds"]), tuple(value["codes"])
        value["sparse"] = Sparse(**value["sparse"]) if value.get("sparse") else None  # none in older indexes
        return Manifest(**{key: value[key] for key in Manifest.__dataclass_fields__})
    except (KeyError, TypeError, SizeError) as error:
        raise CheckpointError(damaged) from error


def commit(directory: Path, manifest: Manifest) -> Manifest:
    """Make `manifest` the index, as its next generation; only the holder of the write lock may call this."""
    manifest = replace(manifest, generation=manifest.generation + 1)
    value = {"format": _FORMAT, "version": _VERSION, **asdict(replace(manifest, nesting=None))}  # type: ignore[arg-type]
    value["nesting"] = manifest.nesting.to_json()
    value = json.loads(json.dumps(value))
    write_json(directory / MANIFEST, {**value, "sha256": _digest(value)})
    return manifest


def sweep(directory: Path, manifest: Manifest | None) -> None:
    """
    Remove what `manifest` does not name: older generations and leftovers of killed writers.

    Readers of an older generation keep their maps, because an unlinked file lives until its last map goes.
    """
    named = {name for entry in (manifest.segments if manifest else ()) for name in (entry.name, entry.deleted)}
    for path in (directory / SEGMENTS).glob("*"):
        if path.name in named:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for path in directory.glob(f".{MANIFEST}.*.tmp"):
        path.unlink(missing_ok=True)


def claim(directory: Path) -> None:
    """Make `directory` a place for an index. Raises `CheckpointError` if it holds something else."""
    if not claim_check(directory):
        directory.mkdir(parents=True)


def claim_check(path: str | os.PathLike[str]) -> bool:
    """Whether there is a directory for an index already. Raises `CheckpointError` if something else stands there."""
    directory = Path(path)
    if directory.is_dir():
        names = {entry.name for entry in os.scandir(directory)}
        if not names or MANIFEST in names or LOCK in names:
            return True
    if directory.exists() or directory.is_symlink():
        raise CheckpointError(
            f"{directory} exists and is not an index, so it is not ours to replace; name another place"
        )
    return False


def release(directory: Path) -> None:
    """After a first build that failed: leave no trace of it. Does nothing where there is an index."""
    if (directory / MANIFEST).exists():
        return
    sweep(directory, None)
    (directory / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something else was put there meanwhile
        (directory / SEGMENTS).rmdir()
    with contextlib.suppress(OSError):
        directory.rmdir()


def _segment(entry: dict[str, Any]) -> SegmentEntry:
    files = {name: FileEntry(**file) for name, file in entry.pop("files").items()}
    deleted, plans = entry.pop("deleted_file"), entry.pop("plans", None)
    return SegmentEntry(
        files=files,
        deleted_file=FileEntry(**deleted) if deleted else None,
        plans=Plans.from_json(plans) if plans else None,
        **entry,
    )


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
