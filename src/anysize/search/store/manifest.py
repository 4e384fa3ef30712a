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
import stat
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anysize.core.errors import CheckpointError
from anysize.core.files import read_json, write_json
from anysize.core.shortly import bytes_in_words, sizes
from anysize.core.sizes.nesting import Nesting
from anysize.search.asking.plans import UNCHECKED
from anysize.search.asking.stages import Sparse, shortlist_dims
from anysize.search.store.entries import SegmentEntry, is_ours, whole
from anysize.search.store.lock import LOCK

MANIFEST = "index.json"
SEGMENTS = "segments"
_FORMAT = "anysize-index"
_VERSION = 1
_MOST = 1 << 62


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
    passages: bool = False
    """Whether long texts are in passages, each an item, and so are those that are added."""
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

    @property
    def bytes(self) -> int:
        """Bytes of all files of the segments."""
        return sum(file.bytes for entry in self.segments for file in entry.files.values())


def in_words(manifest: Manifest) -> str:
    """What an index holds, on one line."""
    made = f"encoded by {manifest.model_path or 'a model'}" if manifest.model_size else "vectors as they were given"
    held = bytes_in_words(manifest.bytes)
    return ", ".join([f"{manifest.count} items", sizes(manifest.nesting), manifest.metric, held, made])


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
        manifest = _manifest(value)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{damaged} ({error})") from error
    check_segments(directory)
    return manifest


def commit(directory: Path, manifest: Manifest) -> Manifest:
    """Make `manifest` the index, as its next generation; only the holder of the write lock may call this."""
    manifest = replace(manifest, generation=manifest.generation + 1)
    plain = replace(manifest, nesting=None)  # type: ignore[arg-type]  # written below, in its own form
    value = {"format": _FORMAT, "version": _VERSION, **asdict(plain)}
    value["nesting"] = manifest.nesting.to_json()
    value = json.loads(json.dumps(value))
    write_json(directory / MANIFEST, {**value, "sha256": _digest(value)})
    return manifest


def check_segments(directory: Path) -> None:
    """Raise `CheckpointError` if the folder of the segments is a link: nothing behind it is ours."""
    if (directory / SEGMENTS).is_symlink():
        raise CheckpointError(
            f"{directory / SEGMENTS} is a symbolic link; an index keeps its segments in its own folder"
        )


def sweep(directory: Path, manifest: Manifest | None) -> None:
    """
    Remove what a writer made and `manifest` does not name: older generations and leftovers of killed writers.

    Nothing else in the folder is touched, no link is followed, and what cannot be removed stays for the next time.
    Readers of an older generation keep their maps, because an unlinked file lives until its last map goes.
    """
    named = {name for entry in (manifest.segments if manifest else ()) for name in (entry.name, entry.deleted)}
    with contextlib.suppress(OSError):
        folder = os.open(directory / SEGMENTS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for name in os.listdir(folder):
                if is_ours(name) and name not in named:
                    _remove(name, folder)
        finally:
            os.close(folder)
    for path in directory.glob(f".{MANIFEST}.*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def tidy(directory: Path) -> None:
    """Remove what the index as it now lies there does not name. Does nothing where there is none that can be read."""
    with contextlib.suppress(CheckpointError):
        sweep(directory, read_manifest(directory))


def _remove(name: str, folder: int) -> None:
    """Remove a folder, a file or a link by its name in an open folder."""
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        shutil.rmtree(name, ignore_errors=True, dir_fd=folder)
    else:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)


def claim(directory: Path) -> None:
    """Make `directory` a place for an index. Raises `CheckpointError` if it holds something else."""
    if not claim_check(directory):
        directory.mkdir(parents=True)


def claim_check(path: str | os.PathLike[str]) -> bool:
    """Whether there is a directory for an index already. Raises `CheckpointError` if something else stands there."""
    directory = Path(path)
    if directory.is_dir():
        names = {entry.name for entry in os.scandir(directory)}
        if not names or LOCK in names or (MANIFEST in names and _says_index(directory / MANIFEST)):
            check_segments(directory)
            return True
    if directory.exists() or directory.is_symlink():
        raise CheckpointError(
            f"{directory} exists and is not an index, so it is not ours to replace; name another place"
        )
    return False


def _says_index(path: Path) -> bool:
    """Whether a manifest, damaged perhaps, is that of an index: other programs have an index.json too."""
    with path.open("rb") as stream:
        return _FORMAT.encode() in stream.read(4096)


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


def _manifest(value: dict[str, Any]) -> Manifest:
    """Raises `KeyError`, `TypeError` or `ValueError` if a part is missing or cannot be what a writer wrote."""
    nesting = Nesting.from_json(value["nesting"])
    full = nesting.full.dims
    manifest = Manifest(
        nesting=nesting,
        metric=_one_of(value["metric"], ("cosine", "dot")),
        bounds=tuple(whole(bound, full) for bound in value["bounds"]),
        source=_one_of(value["source"], ("texts", "vectors", "encoded")),
        codes=tuple(whole(dims, full, least=1) for dims in value["codes"]),
        hnsw=None if value["hnsw"] is None else whole(value["hnsw"], full, least=1),
        sparse=_sparse(value["sparse"]) if value.get("sparse") else None,  # none in older indexes
        passages=value.get("passages") is True,  # not said in older indexes
        **{name: _text(value[name]) for name in ("model_path", "model_fingerprint", "model_size")},
        next_id=whole(value["next_id"], _MOST),
        generation=whole(value["generation"], _MOST),
        segments=tuple(map(SegmentEntry.from_json, value["segments"])),
    )
    vectors = manifest.sparse is None or manifest.sparse.vectors
    if manifest.bounds != tuple(sorted(set(manifest.bounds))) or manifest.bounds[:1] != (0,):
        raise ValueError(f"{manifest.bounds} are not bounds of blocks")
    if manifest.dims != (full if vectors else 0):
        raise ValueError(f"blocks up to {manifest.dims} do not hold vectors of {full}")
    for entry in manifest.segments:
        entry.check(
            manifest.bounds,
            norms=manifest.metric == "cosine",
            texts=manifest.source == "texts",
            latents=manifest.sparse.latents if manifest.sparse else None,
        )
    return manifest


def _sparse(value: Any) -> Sparse:
    if not isinstance(value["vectors"], bool):
        raise ValueError("vectors are kept or not")
    latents = whole(value["latents"], _MOST, least=1)
    return Sparse(latents, whole(value["active"], latents, least=1), value["vectors"])


def _one_of(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{value!r} is none of {', '.join(choices)}")
    return str(value)


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
